"""States in place of keys and values (power 2): bytes and memory a token, break-even, the same text.

    python -m bench.streaming train --out runs/streaming     two small models of power 2, once: minutes
    python -m bench.streaming counted                        bills of shapes, head widths 16, 32 and 64
    python -m bench.streaming exact                          a prefix as a state, in float64
    python -m bench.streaming measured --out runs/streaming  private answers over keys and over states, timed
    python -m bench.streaming text --out runs/streaming      the text that both give

All but `train` append to bench/records/streaming.jsonl; `python -m bench.tables` writes
docs/methods/streaming.md. Only `measured` has seconds: run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench.markdown import megabytes, table
from bench.records import RECORDS, Record
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.benchmark.passes import measure
from mpcinfer.clear import ClearModel
from mpcinfer.counting import count
from mpcinfer.models.config import AttentionForm, ModelConfig
from mpcinfer.models.load import load_model
from mpcinfer.models.variants import variant
from mpcinfer.roles.together import private
from mpcinfer.state_costs import Linear, TokenCost, token_cost
from mpcinfer.suites.registry import get_plan
from mpcinfer.tokenizer import Tokenizer
from mpcinfer.training.corpus import prepare_corpus, stored_corpus
from mpcinfer.training.observer import Observer
from mpcinfer.training.options import FOLDER, RunOptions
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.run import Run

FILE = "streaming.jsonl"
TEXT = "idlelib"
START = "tiny-power4"
SMALL = variant(
    "power2",
    ModelConfig(
        layers=2, width=64, heads=4, kv_heads=4, head_width=16, hidden=256, vocabulary=512, context=1024
    ),
)
STEPS = 20
WIDTHS, CHUNKS = (16, 32, 64), (1, 128)
AT = (128, 256, 512, 1024, 2048, 4096, 8192)
PREFIXES = (16, 256, 4096, 65536)
MEASURED = (128, 512)
TEXT_CHUNKS = (1, 16)
MODELLED = {16: 1200, 32: 8700, 64: 68000}
"""Break-even without chunks as `methods.md` has it: R (K + 1) words of 8 bytes against 16 bytes a score."""
PROMPT = "import os\n\n\nclass Window:\n    def __init__(self, parent, title=None):\n        self."


def shape(width: int) -> ModelConfig:
    """One layer of two heads; bytes a head do not depend on how many there are."""
    return ModelConfig(
        layers=1,
        width=2 * width,
        heads=2,
        kv_heads=2,
        head_width=width,
        hidden=8 * width,
        vocabulary=256,
        context=8192,
        positions="rope",
        attention="power",
        power=2,
        attention_epsilon=1e-2,
    )


def train(out: Path, steps: int) -> None:
    """`small`, whose text hardly matters, for `measured`; and `text`, which goes on from a power of 4."""
    torch.set_num_threads(1)
    start = load_model(START)
    converted = variant("power2", start.config)
    _train(out / "text", out / "data-start", converted, steps, tokenizer=start.tokenizer)
    _train(out / "small", out / "data", SMALL, steps)


def _train(
    into: Path, data: Path, config: ModelConfig, steps: int, tokenizer: Tokenizer | None = None
) -> None:
    """Trains what is missing."""
    if stored_corpus(data) is None:
        source = Path(sysconfig.get_paths()["stdlib"]) / TEXT
        say = Console().print
        prepare_corpus(data, str(source), config.vocabulary, stored=False, say=say, tokenizer=tokenizer)
    resume = (into / FOLDER / "checkpoint.pt").exists()
    rate = 2e-3 if tokenizer is None else 6e-4
    options = RunOptions(
        source=str(data),
        config=config,
        recipe=Recipe(
            steps=steps, batch=2, learning_rate=rate, warmup=max(steps // 20, 1), precision="float32"
        ),
        ranges=RangePenalty(strength=0.1, scores=4.0),
        start_from=None if tokenizer is None else START,
        evaluate_every=steps,
        checkpoint_every=max(steps // 4, 1),
        entropy_every=0,
        held_out_windows=16,
    )
    Run(into, options, resume=resume, observer=Observer()).finish()


def counted() -> None:
    """A record a head width and chunk."""
    for width in WIDTHS:
        for chunk in CHUNKS:
            plan = dataclasses.replace(get_plan("fss"), chunk=chunk)
            found = token_cost(shape(width), plan)
            even = {
                "online": found.break_even(),
                "offline": found.offline_break_even(),
                "memory": found.memory_break_even(),
            }
            extra = {"width": width, "chunk": chunk, "token": dataclasses.asdict(found), "even": even}
            _record("counted", extra, model=f"1 layer, 2 heads of {width}")


def exact() -> None:
    """A prefix as a state against the same keys in the prompt, in float64: power 2, with and without a
    shift."""
    backend, generator = PlainBackend(), torch.Generator().manual_seed(1)
    for width in WIDTHS:
        for prefix in PREFIXES:
            apart = 0.0
            for shift in (0.0, 2.0):
                form = AttentionForm("power", 2, 1e-2, shift)
                q, k, v = (
                    torch.randn(1, 2, rows, width, dtype=torch.float64, generator=generator)
                    for rows in (8, prefix + 8, prefix + 8)
                )
                q = q * width**-0.5
                right = backend.attention(q, k, v, prefix, form)
                state = backend.into_state(None, k[..., :prefix, :], v[..., :prefix, :], form, None)
                own = k[..., prefix:, :], v[..., prefix:, :]
                given = backend.attention(q, own[0], own[1], 0, form, state=state)
                apart = max(apart, float((given - right).abs().max() / right.abs().max()))
            _record("exact", {"width": width, "prefix": prefix, "apart": apart}, model="attention alone")


def measured(out: Path, new_tokens: int, chunks: Sequence[int], prompts: Sequence[int]) -> None:
    """Private answers of the trained model, three processes on this machine: bytes and seconds a token."""
    folder = out / "small"
    model = load_model(folder)
    for chunk in chunks:
        for tokens in prompts:
            count_new = max(new_tokens, chunk + 2)
            choices = [f"cache=state:{chunk}"] if chunk else []
            with private(str(folder), choices=choices, timeout_s=300.0) as client:
                _, singles = measure(client, tokens, count_new, 1)
                bill = client.finish().total
            plan = dataclasses.replace(get_plan("fss"), chunk=chunk)
            passes = len(singles.bills)
            right = count(
                model.config,
                plan,
                tokens=tokens,
                new_tokens=passes + 1,
                ranges=model.ranges,
                max_context=min(1024, model.config.context),
            ).total
            names = ("rounds", "online_bytes_to_server", "online_bytes_to_client")
            agrees = all(getattr(bill, name) == getattr(right, name) for name in names)
            each = [row.total for row in singles.bills]
            period = each[-chunk:] if 1 < chunk <= passes else each
            online = [row.online_bytes_to_server + row.online_bytes_to_client for row in period]
            extra = {
                "chunk": chunk,
                "passes": passes,
                "online": sum(online) / len(online),
                "median_s": singles.median,
                "as_counted": agrees,
            }
            _record("measured", extra, model="2 layers, 4 heads of 16", tokens=tokens, measured=True)


def text(out: Path, new_tokens: int, chunks: Sequence[int]) -> None:
    """The same prompt over keys and values, and over states: in float, in fixed point, privately."""
    folder = out / "text"
    model = load_model(folder)
    for chunk in chunks:
        choices = [f"cache=state:{chunk}"] if chunk else []
        for kind in ("float", "fixed point", "private"):
            if kind == "private":
                with private(str(folder), plan="fss", choices=choices, timeout_s=300.0) as client:
                    answer = client.complete(PROMPT, max_new_tokens=new_tokens)
                    client.finish()
            else:
                clear = ClearModel(model, fixed_point=kind == "fixed point", choices=choices)
                answer = clear.complete(PROMPT, max_new_tokens=new_tokens)
            extra = {"chunk": chunk, "kind": kind, "ids": list(answer.ids), "text": answer.text}
            prompt = len(model.tokenizer.encode(PROMPT))
            _record("text", extra, model="tiny-power4, power 2", tokens=prompt, measured=kind == "private")


def _record(case: str, extra: dict[str, Any], *, model: str, tokens: int = 0, measured: bool = False) -> None:
    record = Record(
        case=case, plan="fss", model=model, tokens=tokens, measured=measured, bill={}, extra=extra
    )
    record.append(RECORDS / FILE)
    print(case, {name: value for name, value in extra.items() if name not in ("token", "ids")}, flush=True)


def _latest(case: str, *keys: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The newest record of each, by what `keys` say of it."""
    path = RECORDS / FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = [{**each["extra"], "tokens": each["tokens"]} for each in lines if each["case"] == case]
    return {tuple(each[key] for key in keys): each for each in known}


def _cost(extra: dict[str, Any]) -> TokenCost:
    lines = ("kept", "kept_offline", "kept_memory")
    token: dict[str, Any] = {
        name: Linear(**value) if name in lines else value for name, value in extra["token"].items()
    }
    return TokenCost(**token)


def _kilobytes(size: float) -> str:
    return f"{size / 1e3:,.1f} kB" if size < 1e5 else megabytes(int(size))


def bytes_table() -> str:
    """Online bytes of a token at every context, both ways, a head."""
    found = _latest("counted", "width", "chunk")
    header = ["head width, cache", *(f"n = {n:,}" for n in AT)]
    rows: list[list[str]] = []
    for width in WIDTHS:
        kept = _cost(found[width, 1]).kept
        rows.append([f"{width}, keys and values", *(_kilobytes(kept.at(n) / 2) for n in AT)])
        for chunk in CHUNKS:
            state = _kilobytes(_cost(found[width, chunk]).state / 2)
            rows.append([f"{width}, state, chunk {chunk}", *(state for _ in AT)])
    return table(header, rows)


def memory_table() -> str:
    """Memory at a party, a head."""
    found = _latest("counted", "width", "chunk")
    rows: list[list[str]] = []
    for width in WIDTHS:
        kept = _cost(found[width, 1]).kept_memory
        rows.append([f"{width}, keys and values", *(_kilobytes(kept.at(n) / 2) for n in AT)])
        for chunk in CHUNKS:
            state = _kilobytes(_cost(found[width, chunk]).state_memory / 2)
            rows.append([f"{width}, state, chunk {chunk}", *(state for _ in AT)])
    return table(["head width, cache", *(f"n = {n:,}" for n in AT)], rows)


def even_table() -> str:
    """Break-even, modelled and counted."""
    found = _latest("counted", "width", "chunk")
    rows: list[list[str]] = []
    for (width, chunk), extra in sorted(found.items()):
        even, modelled = extra["even"], max(1, round(MODELLED[width] / chunk))
        ratio = f"{even['online'] / modelled:,.1f}"
        rows.append(
            [
                f"{width}, chunk {chunk}",
                f"{modelled:,}",
                f"{even['online']:,}",
                ratio,
                f"{even['offline']:,}",
                f"{even['memory']:,}",
            ]
        )
    header = ["head width", "modelled", "counted, online", "ratio", "counted, offline", "memory"]
    return table(header, rows)


def measured_table() -> str:
    """Bytes a token that parties measured, and whether whole sessions were as counted."""
    rows = [
        [
            f"state, chunk {chunk}" if chunk else "keys and values",
            f"{tokens:,}",
            str(each["passes"]),
            _kilobytes(each["online"]),
            "yes" if each["as_counted"] else "no",
        ]
        for (chunk, tokens), each in sorted(_latest("measured", "chunk", "tokens").items())
    ]
    return table(["cache", "prompt", "tokens after it", "online a token", "bill as counted"], rows)


def text_table() -> str:
    """Whether texts are the same as in float over keys and values."""
    found = _latest("text", "chunk", "kind")
    right = found[0, "float"]["ids"]
    rows = [
        [
            f"{kind}, state, chunk {chunk}" if chunk else f"{kind}, keys and values",
            str(len(each["ids"])),
            "yes" if each["ids"] == right else f"the first {_same(each['ids'], right)}",
        ]
        for (chunk, kind), each in sorted(found.items())
    ]
    return table(["run", "tokens", "those of float over keys and values"], rows)


def exact_table() -> str:
    """Largest difference relative to the largest output."""
    found = _latest("exact", "width", "prefix")
    rows = [
        [str(width), *(f"{found[width, prefix]['apart']:.0e}" for prefix in PREFIXES)] for width in WIDTHS
    ]
    return table(["head width", *(f"m = {prefix:,}" for prefix in PREFIXES)], rows)


def _same(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


TABLES: dict[str, Callable[[], str]] = {
    "streaming bytes": bytes_table,
    "streaming memory": memory_table,
    "streaming break-even": even_table,
    "streaming measured": measured_table,
    "streaming text": text_table,
    "streaming exact": exact_table,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=["train", "counted", "exact", "measured", "text"])
    parser.add_argument("--out", type=Path, default=Path("runs/streaming"), help="folder of the model")
    parser.add_argument("--steps", type=int, default=STEPS, help="of training")
    parser.add_argument("--new-tokens", type=int, default=24, help="of an answer, at least")
    parser.add_argument("--chunks", type=int, nargs="+", help="some of them; 0: keys and values")
    parser.add_argument("--prompts", type=int, nargs="+", default=list(MEASURED), help="measured: tokens")
    options = parser.parse_args()
    if options.case == "train":
        train(options.out, options.steps)
    elif options.case == "measured":
        measured(options.out, options.new_tokens, options.chunks or (0, *CHUNKS), options.prompts)
    elif options.case == "text":
        text(options.out, options.new_tokens, options.chunks or (0, *TEXT_CHUNKS))
    else:
        {"counted": counted, "exact": exact}[options.case]()


if __name__ == "__main__":
    main()
