"""A polynomial transformer end to end: trained, substituted, measured, billed, and its depth.

    python -m bench.polynomial train --out runs/polynomial            what is missing, one run after the other
    python -m bench.polynomial train --out runs/polynomial --only poly
    python -m bench.polynomial report --out runs/polynomial           a record
    python -m bench.polynomial bills --out runs/polynomial            that with new bills

`tiny-python` is continued with softmax attention and as the variant `poly` with a penalty on ranges, on the
same tokens; then activations, inverse square roots and divisions are substituted by polynomials, and nothing
is trained after that. `report` appends to bench/records/polynomial.jsonl, and
`python -m bench.tables` then writes docs/polynomial.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.markdown import megabytes, table
from bench.polynomial_runs import ENTRIES, START, data
from bench.records import RECORDS, commit
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.benchmark.machine import machine
from mpcinfer.clear import ClearModel
from mpcinfer.counting import count
from mpcinfer.depths import depth
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.load import load_config, load_model
from mpcinfer.models.model import Model
from mpcinfer.models.static import static
from mpcinfer.roles.together import private
from mpcinfer.suites.arithmetic.reference import polynomial_decoder
from mpcinfer.suites.registry import get_plan
from mpcinfer.training.observer import Observer
from mpcinfer.training.options import FOLDER
from mpcinfer.training.run import Run
from parties.errors import ConfigError, RangeError
from parties.meter import Meter
from protocols.additive.primitives import FRAC_BITS
from protocols.additive.registry import resolve
from protocols.arithmetic.floating import IdealFloatArithmetic
from protocols.plan import Plan

FILE = RECORDS / "polynomial.jsonl"
STEPS, WINDOWS = 200, 8
"""Training steps a run; held-out windows of every perplexity."""
TOKENS = 128
BILLED = (
    ("fss", "softmax"),
    ("crypten", "softmax"),
    ("fss", "poly"),
    ("crypten", "poly"),
    ("poly", "poly"),
    ("fss-poly", "poly"),
)
PROMPT = "import os\n\n\ndef read_lines(path, limit=None):\n    with open(path) as file:\n        for"
KINDS = ("attention weights", "norms", "activations", "linear", "products of activations", "the rest")
_KIND = {"softmax": 0, "power": 0, "layernorm": 1, "gelu_tanh": 2, "linear": 3, "matmul": 4}


def train(out: Path, only: str | None) -> None:
    """Trains what is missing."""
    torch.set_num_threads(1)
    data(out, print)
    for entry in ENTRIES:
        folder = out / entry.name
        if (only is None or entry.name == only) and not (folder / "README.md").exists():
            options = entry.options(load_config(START), out, STEPS)
            resume = (folder / FOLDER / "checkpoint.pt").exists()
            Run(folder, options, resume=resume, observer=Observer()).finish()


def perplexity_of(logits: Callable[[list[int]], torch.Tensor], windows: Sequence[Sequence[int]]) -> float:
    """exp of the mean cross-entropy over windows; infinite where a value left the ring."""
    total, tokens = 0.0, 0
    for window in windows:
        try:
            with torch.no_grad():
                given = logits(list(window[:-1])).double()[0]
        except RangeError:
            return math.inf
        targets = torch.tensor(list(window[1:]))
        total += float(torch.nn.functional.cross_entropy(given, targets, reduction="sum"))
        tokens += len(targets)
    return math.exp(total / tokens)


def in_float(model: Model, ids: list[int]) -> torch.Tensor:
    """The exact functions."""
    decoder = Decoder(PlainBackend(), *static(model.config, model.weights))
    return decoder.forward(torch.tensor([ids]), len(ids))


def as_polynomials(model: Model, plan: Plan, fixed: bool, ids: list[int]) -> torch.Tensor:
    """Its polynomials without rounding, or in the fixed point of private runs."""
    executor = None if fixed else IdealFloatArithmetic(Meter(timed=False))
    decoder = polynomial_decoder(model, plan, resolve(plan), FRAC_BITS, executor)
    return decoder.backend.open_logits(decoder.forward(decoder.backend.tokens(ids, len(ids)), len(ids)))


def perplexities(out: Path) -> list[dict[str, Any]]:
    """A record a model and form of it."""
    context = load_config(START).context
    stream = np.load(out / "data" / "held_out.npy").tolist()
    windows = [stream[i * context : (i + 1) * context + 1] for i in range(WINDOWS)]
    found: list[dict[str, Any]] = []
    per_run = STEPS * 8 * context

    def add(name: str, form: str, trained: int, logits: Callable[[list[int]], torch.Tensor]) -> None:
        found.append(
            {"model": name, "form": form, "tokens": trained, "perplexity": perplexity_of(logits, windows)}
        )
        print(found[-1], flush=True)

    add(START, "softmax, float", 0, partial(in_float, load_model(START)))
    for entry in ENTRIES:
        if not (out / entry.name / "README.md").exists():
            continue
        model, trained = load_model(out / entry.name), per_run * (2 if entry.after else 1)
        add(entry.name, f"{model.config.attention}, float", trained, partial(in_float, model))
        if model.config.attention != "power":
            continue
        for degree in (8, 16, 32):
            plan = get_plan("poly").replace(gelu=f"polynomial{degree}")
            add(entry.name, f"degree {degree}, float", trained, partial(as_polynomials, model, plan, False))
        plan = get_plan("poly")
        add(entry.name, "degree 16, fixed point", trained, partial(as_polynomials, model, plan, True))
    return found


def bills(out: Path) -> list[dict[str, Any]]:
    """Counted breakdowns, by kind, of the newest pair of models and of GPT-2's size."""
    shapes: list[tuple[str, str, Any, Any]] = []
    for kind in ("softmax", "poly"):
        model = load_model(_newest(out, kind))
        shapes.append((START, kind, model.config, model.ranges))
    shapes += [
        ("gpt2", "softmax", load_config("gpt2"), None),
        ("gpt2", "poly", load_config("gpt2-poly"), None),
    ]
    return [
        _bill(size, kind, config, ranges, plan)
        for size, kind, config, ranges in shapes
        for plan, wanted in BILLED
        if wanted == kind
    ]


def _bill(size: str, kind: str, config: ModelConfig, ranges: Any, plan: str) -> dict[str, Any]:
    record: dict[str, Any] = {"size": size, "model": kind, "plan": plan}
    try:
        bill = count(config, get_plan(plan), tokens=TOKENS, ranges=ranges)
    except (ConfigError, RangeError) as error:
        return {**record, "failed": str(error)}
    parts = {name: {"rounds": 0, "online": 0} for name in KINDS}
    for row in bill.by_kind():
        part = parts[KINDS[_KIND.get(row.label, len(KINDS) - 1)]]
        part["rounds"] += row.rounds
        part["online"] += row.online_bytes_to_server + row.online_bytes_to_client
    total = bill.total
    offline = total.offline_bytes_to_server + total.offline_bytes_to_client
    return {**record, "parts": parts, "rounds": total.rounds, "offline": offline}


def depths(out: Path) -> list[dict[str, Any]]:
    """Of the converted model and of GPT-2's size."""
    models = {START: str(_newest(out, "poly")), "gpt2": "gpt2-poly"}
    return [{"size": size, **depth(name, tokens=TOKENS).to_json()} for size, name in models.items()]


def measured(out: Path) -> list[dict[str, Any]]:
    """Three processes on this machine, a pass over a prompt: seconds by kind, and whether bill and token
    agree."""
    found: list[dict[str, Any]] = []
    for plan, kind in BILLED:
        model = load_model(_newest(out, kind))
        record: dict[str, Any] = {"model": kind, "plan": plan}
        try:
            with private(str(_newest(out, kind)), plan=plan, timeout_s=300.0) as client:
                answer = client.complete(PROMPT, max_new_tokens=1)
                bill = client.finish()
        except (ConfigError, RangeError) as error:
            found.append({**record, "failed": str(error)})
            continue
        tokens = len(model.tokenizer.encode(PROMPT))
        room = min(1024, model.config.context)
        counted = count(
            model.config, get_plan(plan), tokens=tokens, ranges=model.ranges, max_context=room
        ).total
        seconds = dict.fromkeys(KINDS, 0.0)
        for row in bill.by_kind():
            if row.rounds:
                seconds[KINDS[_KIND.get(row.label, len(KINDS) - 1)]] += row.seconds or 0.0
        names = ("rounds", "online_bytes_to_server", "online_bytes_to_client")
        agrees = all(getattr(bill.total, name) == getattr(counted, name) for name in names)
        clear = ClearModel(model, fixed_point=True, plan=plan)
        same = answer.ids == clear.complete(PROMPT, max_new_tokens=1).ids
        found.append({**record, "tokens": tokens, "seconds": seconds, "as_counted": agrees, "same": same})
        print(found[-1], flush=True)
    return found


def _newest(out: Path, kind: str) -> Path:
    """The folder of the last run of a kind."""
    return next(out / f"{kind}{end}" for end in ("-2", "") if (out / f"{kind}{end}" / "README.md").exists())


def report(out: Path) -> None:
    """Measures, counts, appends a record and writes the tables."""
    record = {
        "case": "polynomial",
        "steps": STEPS,
        "windows": WINDOWS,
        "perplexities": perplexities(out),
        "bills": bills(out),
        "depths": depths(out),
        "measured": measured(out),
        "commit": commit(),
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
    }
    _append(record)


def count_again(out: Path) -> None:
    """Appends the newest record with other bills: they are counted, and depend on no machine."""
    _append({**_newest_record(), "bills": bills(out)})


def _append(record: dict[str, Any]) -> None:
    with FILE.open("a") as file:
        file.write(json.dumps(record) + "\n")


def _newest_record() -> dict[str, Any]:
    return json.loads(FILE.read_text().splitlines()[-1])


def _perplexities(record: dict[str, Any]) -> str:
    rows = [
        [each["model"], each["form"], f"{each['tokens']:,}", f"{each['perplexity']:.2f}"]
        for each in record["perplexities"]
    ]
    return table(["model", "form", "tokens more", "perplexity"], rows, left=["form"])


def _breakdown(record: dict[str, Any], size: str) -> str:
    chosen = [each for each in record["bills"] if each["size"] == size and "parts" in each]
    header = ["", *(f"{each['model']}, `{each['plan']}`" for each in chosen)]
    rows = [
        [name, *(f"{part['rounds']:,} / {megabytes(part['online'])}" for part in parts)]
        for name in KINDS
        for parts in [[each["parts"][name] for each in chosen]]
    ]
    online = [sum(part["online"] for part in each["parts"].values()) for each in chosen]
    rows.append(["all", *(f"{e['rounds']:,} / {megabytes(b)}" for e, b in zip(chosen, online, strict=True))])
    rows.append(["offline", *(megabytes(each["offline"]) for each in chosen)])
    return table(header, rows)


def _depths(record: dict[str, Any]) -> str:
    header = ["model", "part", "depth", "levels", "products", "by plaintexts", "rotations"]
    rows: list[list[str]] = []
    for each in record["depths"]:
        for row in [
            *[part for part in each["parts"] if part["name"] in ("embedding", "layer0", "head")],
            *each["total"],
        ]:
            names = ("depth", "levels", "products", "plain_products", "rotations")
            rows.append([each["size"], row["name"], *(f"{row[name]:,}" for name in names)])
    return table(header, rows, left=["part"])


def _seconds(record: dict[str, Any]) -> str:
    chosen = [each for each in record["measured"] if "seconds" in each]
    header = ["", *(f"{each['model']}, `{each['plan']}`" for each in chosen)]
    rows = [[name, *(f"{each['seconds'][name]:.2f} s" for each in chosen)] for name in KINDS]
    rows.append(["all", *(f"{sum(each['seconds'].values()):.2f} s" for each in chosen)])
    rows.append(["bill as counted", *("yes" if each["as_counted"] else "no" for each in chosen)])
    rows.append(["the reference's token", *("yes" if each["same"] else "no" for each in chosen)])
    return table(header, rows)


def _made(make: Callable[[dict[str, Any]], str]) -> str:
    """A table of the newest record."""
    return make(_newest_record())


TABLES: dict[str, Callable[[], str]] = {
    name: partial(_made, make)
    for name, make in {
        "perplexities": _perplexities,
        "breakdown tiny": partial(_breakdown, size=START),
        "breakdown gpt2": partial(_breakdown, size="gpt2"),
        "seconds": _seconds,
        "depths": _depths,
    }.items()
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=["train", "report", "bills"])
    parser.add_argument("--out", type=Path, default=Path("runs/polynomial"), help="folder of the runs")
    parser.add_argument("--only", help="train: one run")
    options = parser.parse_args()
    if options.case == "train":
        train(options.out, options.only)
    elif options.case == "report":
        report(options.out)
    else:
        count_again(options.out)


if __name__ == "__main__":
    main()
