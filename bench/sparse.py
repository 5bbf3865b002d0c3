"""Key patterns fitted to SmolLM2: bytes against errors, exponents by layer, and scores when texts double.

    python -m bench.sparse fit        fits at several targets, and runs them in the clear (minutes)
    python -m bench.sparse doubling   counts fixed exponents at 128 to 2048 tokens (minutes)
    python -m bench.sparse private    small private runs under four plans

Texts are chapters of the language reference that Python ships (`pydoc_data`): two to fit with, two others to
measure on. Each part appends to bench/records/sparse.jsonl; `python -m bench.tables` writes
docs/methods/sparse.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch

from bench.markdown import megabytes, table
from bench.records import RECORDS, Record
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.counting import count
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.load import load_config, load_model, load_ranges_of
from mpcinfer.models.model import Model
from mpcinfer.models.patterns_file import save_patterns
from mpcinfer.models.static import static
from mpcinfer.plans import plan_from
from mpcinfer.sparsity.calibrate import LENGTHS, measured, sparse, with_patterns
from parties.bill import Bill
from protocols.key_pattern import KeyPattern

FILE = RECORDS / "sparse.jsonl"
MODEL, SMALL, TOKENS = "smollm2-135m-instruct", "tiny-python", 512
FIT, HELD_OUT = ("compound", "types"), ("specialnames", "typesseq")
TARGETS = (0.02, 0.05, 0.1, 0.2, 0.3)
SHOWN = 0.1
"""The target whose exponents are shown."""
DOUBLINGS, EXPONENTS, ALPHA = (128, 256, 512, 1024, 2048), (0.5, 0.75, 1.0), 0.9
PRIVATE = ("fss", "fss-faithful", "crypten", "two-party")
SMALL_LENGTHS, PROMPT = (32, 64, 128), "def area(self, width, height):\n    return"


def _ids(model: Model, names: Sequence[str], tokens: int) -> list[list[int]]:
    """The first tokens of chapters."""
    return [model.tokenizer.encode(topics[name])[:tokens] for name in names]


def _clear(model: Model, texts: Sequence[Sequence[int]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Last residuals and logits of the float model."""
    config, weights = static(model.config, model.weights)
    backend = PlainBackend()
    decoder = Decoder(backend, config, weights)
    hidden, logits = list[torch.Tensor](), list[torch.Tensor]()
    with torch.no_grad():
        for text in texts:
            x = decoder.stack(decoder.embedding(backend.tokens(list(text), len(text))))
            hidden.append(x)
            logits.append(decoder.head(x))
    return hidden, logits


def _off(changed: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    """Relative error over all texts, in the norm of all numbers together."""
    differences = sum(float((a - b).square().sum()) for a, b in zip(changed, right, strict=True))
    return math.sqrt(differences / sum(float(b.square().sum()) for b in right))


def _perplexity(logits: Sequence[torch.Tensor], texts: Sequence[Sequence[int]]) -> float:
    """Of every token but the first of each text."""
    losses = [
        torch.nn.functional.cross_entropy(each[0, :-1], torch.tensor(list(text[1:])), reduction="sum")
        for each, text in zip(logits, texts, strict=True)
    ]
    return math.exp(float(sum(losses)) / sum(len(text) - 1 for text in texts))


def _bill(model: Model, tokens: int) -> Bill:
    return count(model.config, plan_from("fss", None), tokens=tokens, new_tokens=1, ranges=model.ranges)


def _record(
    case: str, model: str, tokens: int, extra: dict[str, Any], bill: Bill | None = None, plan: str = "fss"
) -> None:
    billed = {} if bill is None else {"total": dataclasses.asdict(bill.total)}
    Record(
        case=case, plan=plan, model=model, tokens=tokens, measured=bill is None, bill=billed, extra=extra
    ).append(FILE)


def _attention_bytes(bill: Bill) -> int:
    """Online bytes of scores, softmax and mixing, of all layers."""
    rows = [row for row in bill.rows if ".attn." in row.label and row.label.split(".")[-1] in _QUADRATIC]
    return sum(row.online_bytes_to_server + row.online_bytes_to_client for row in rows)


_QUADRATIC = ("scores", "softmax", "mix")


def fit() -> None:
    """Records full attention, and what is fitted to every target."""
    model = load_model(MODEL)
    fitting, held_out = _ids(model, FIT, TOKENS), _ids(model, HELD_OUT, TOKENS)
    backend = measured(model, fitting, LENGTHS)
    read = [model.tokenizer.decode(text) for text in fitting]
    hidden, logits = _clear(model, held_out)
    whole = model.config.layers * model.config.heads * TOKENS * (TOKENS + 1) // 2
    full = {"target": 0.0, "perplexity": _perplexity(logits, held_out), "scores": whole}
    bill = _bill(model, TOKENS)
    _record("sparse error", MODEL, TOKENS, {**full, "attention": _attention_bytes(bill)}, bill)
    for target in TARGETS:
        changed = sparse(model, backend, LENGTHS, target, read)
        own_hidden, own_logits = _clear(changed, held_out)
        bill = _bill(changed, TOKENS)
        patterns = [[dataclasses.asdict(each) for each in layer] for layer in changed.config.patterns]
        kept = [each for layer in changed.config.patterns for each in layer if not each.dropped]
        _record(
            "sparse error",
            MODEL,
            TOKENS,
            {
                "target": target,
                "scores": sum(each.budget(seen) for each in kept for seen in range(1, TOKENS + 1)),
                "attention": _attention_bytes(bill),
                "hidden": _off(own_hidden, hidden),
                "logits": _off(own_logits, logits),
                "agreed": _agreed(own_logits, logits),
                "perplexity": _perplexity(own_logits, held_out),
                "dropped": sum(map(len, changed.config.patterns)) - len(kept),
                "patterns": patterns,
            },
            bill,
        )
        print(f"{MODEL} at target {target}: done", flush=True)


def _agreed(changed: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    """The share of positions where both have the same likeliest token."""
    same = [(a.argmax(-1) == b.argmax(-1)).double().mean() for a, b in zip(changed, right, strict=True)]
    return statistics.mean(map(float, same))


def doubling() -> None:
    """Records how scores and their bytes grow where every head has the same exponent."""
    config, ranges = load_config(MODEL), load_ranges_of(MODEL)
    for exponent in EXPONENTS:
        pattern = KeyPattern(ALPHA if exponent < 1 else 1.0, exponent, 4 if exponent < 1 else 0)
        patterns = ((pattern,) * config.heads,) * config.layers
        own = dataclasses.replace(config, patterns=patterns)
        for tokens in DOUBLINGS:
            bill = count(own, plan_from("fss", None), tokens=tokens, new_tokens=1, ranges=ranges)
            rows = [row for row in bill.rows if row.label.endswith(".attn.scores")]
            opened = sum(row.online_bytes_to_server for row in rows)
            scores = sum(map(pattern.budget, range(1, tokens + 1))) * config.heads * config.layers
            found = {"exponent": exponent, "opened": opened, "scores": scores}
            _record("sparse doubling", MODEL, tokens, {**found, "attention": _attention_bytes(bill)}, bill)
        print(f"exponent {exponent}: done", flush=True)


def private() -> None:
    """Records a small private run under every plan, its bytes beside the counted ones."""
    model = load_model(SMALL)
    chapters = _ids(model, FIT, SMALL_LENGTHS[-1])
    backend = measured(model, chapters, SMALL_LENGTHS)
    read = [model.tokenizer.decode(text) for text in chapters]
    even = _even(sparse(model, backend, SMALL_LENGTHS, 0.2, read), read)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sparse.json"
        save_patterns(path, even, SMALL, 0.2)
        tokens = len(model.tokenizer.encode(PROMPT))
        for plan in PRIVATE:
            for name in (str(path), SMALL):
                document = _generated(name, plan)
                total = Bill.from_json(document["bill"]).total
                counted = count(
                    load_config(name),
                    plan_from(plan, None),
                    tokens=tokens,
                    new_tokens=len(document["token_ids"]),
                    ranges=load_ranges_of(name),
                    max_context=min(load_config(name).context, 1024),
                ).total
                sides = ("online_bytes_to_server", "online_bytes_to_client")
                found = {
                    "sparse": name != SMALL,
                    "online": sum(getattr(total, side) for side in sides),
                    "counted": sum(getattr(counted, side) for side in sides),
                    "verified": document["verified"],
                }
                _record("sparse private", SMALL, tokens, found, plan=plan)
                print(f"{plan}, {'patterns' if name != SMALL else 'all keys'}: {found}", flush=True)


def _even(model: Model, texts: Sequence[str]) -> Model:
    """With a head dropped in every layer, so that all that can happen does."""
    dropped = tuple((KeyPattern(dropped=True), *layer[1:]) for layer in model.config.patterns)
    return with_patterns(model, dropped, texts)


def _generated(model: str, plan: str) -> dict[str, Any]:
    """What a private answer of four tokens says."""
    command = [sys.executable, "-m", "mpcinfer", "generate", PROMPT, "--local", "private", "--tokens", "4"]
    done = subprocess.run(
        [*command, "--model", model, "--plan", plan, "--verify", "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def _found(case: str) -> list[dict[str, Any]]:
    """Records of a case, of which the latest of each question counts."""
    latest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in FILE.read_text().splitlines() if FILE.exists() else []:
        record = json.loads(line)
        extra = record["extra"]
        if record["case"] == case:
            settings = (extra.get(name) for name in ("target", "exponent", "sparse"))
            latest[record["plan"], record["tokens"], *settings] = record
    return list(latest.values())


def errors_table() -> str:
    """Bytes against errors, in the order of targets."""
    records = sorted(_found("sparse error"), key=lambda record: record["extra"]["target"])
    if not records:
        return "Not measured yet."
    rows: list[list[str]] = []
    every = records[0]["extra"]["scores"]
    for record in records:
        extra, total = record["extra"], record["bill"]["total"]
        online = total["online_bytes_to_server"] + total["online_bytes_to_client"]
        offline = total["offline_bytes_to_server"] + total["offline_bytes_to_client"]
        full = not extra["target"]
        rows.append(
            [
                "all keys" if full else f"{extra['target']:g}",
                f"{extra['scores'] / every:.0%}",
                "" if full else str(extra["dropped"]),
                megabytes(extra["attention"]),
                megabytes(online),
                megabytes(offline),
                *("" if full else f"{extra[name]:.3f}" for name in ("hidden", "logits")),
                "" if full else f"{extra['agreed']:.1%}",
                f"{extra['perplexity']:.2f}",
            ]
        )
    names = ["target a layer", "scores", "heads dropped", "attention, online", "all, online", "dealt"]
    return table([*names, "residual off", "logits off", "same token", "perplexity"], rows)


def exponents_table() -> str:
    """alpha and C of every layer, at one target."""
    found = [record for record in _found("sparse error") if record["extra"]["target"] == SHOWN]
    if not found:
        return "Not measured yet."
    rows: list[list[str]] = []
    for layer, heads in enumerate(found[0]["extra"]["patterns"]):
        kept = [each for each in heads if not each["dropped"]]
        cells: list[str] = []
        for name in ("alpha", "exponent"):
            numbers = [each[name] for each in kept]
            cells += [f"{statistics.mean(numbers):.2f}", f"{statistics.median(numbers):.2f}"]
        seen = statistics.mean(KeyPattern(**each).budget(TOKENS) for each in kept)
        spread = sum(each["strided"] > 0 for each in kept)
        rows.append([str(layer), *cells, f"{seen:.0f}", str(spread), str(len(heads) - len(kept))])
    names = ["layer", "alpha, mean", "median", "C, mean", "median", f"keys at {TOKENS}, mean"]
    return table([*names, "heads with spread keys", "dropped"], rows)


def doubling_table() -> str:
    """Ratios of scores, and of the bytes they open, from each length to twice that."""
    records = {(r["extra"]["exponent"], r["tokens"]): r["extra"] for r in _found("sparse doubling")}
    rows: list[list[str]] = []
    for exponent in EXPONENTS:
        if (exponent, DOUBLINGS[-1]) not in records:
            return "Not measured yet."
        cells: list[str] = []
        for tokens in DOUBLINGS[1:]:
            now, before = records[exponent, tokens], records[exponent, tokens // 2]
            ratios = (now[name] / before[name] for name in ("scores", "opened"))
            cells.append(" / ".join(f"{each:.3f}" for each in ratios))
        rows.append([f"{exponent:g}", f"{2 ** (1 + exponent):.3f}", *cells])
    return table(["C", "2^(1+C)", *(f"{n // 2} to {n}" for n in DOUBLINGS[1:])], rows)


def private_table() -> str:
    """Private runs of a small model."""
    rows: list[list[str]] = []
    for record in _found("sparse private"):
        extra = record["extra"]
        rows.append(
            [
                f"`{record['plan']}`",
                "patterns, a head a layer dropped" if extra["sparse"] else "all keys",
                f"{extra['online']:,}",
                f"{extra['counted']:,}",
                "yes" if extra["verified"] else "no",
            ]
        )
    names = ["plan", "sees", "online bytes, measured", "counted", "logits are the reference's"]
    return table(names, rows, left={"sees", "logits are the reference's"}) if rows else "Not measured yet."


TABLES: dict[str, Callable[[], str]] = {
    "sparse errors": errors_table,
    "sparse exponents": exponents_table,
    "sparse doubling": doubling_table,
    "sparse private": private_table,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parts = {"fit": fit, "doubling": doubling, "private": private}
    parser.add_argument("part", choices=parts)
    parts[parser.parse_args().part]()


if __name__ == "__main__":
    main()
