"""DyT, Derf, linear norms and Gaussian kernels beside softmax and layer norms: trained alike, and billed.

    python -m bench.relatives train --out runs/relatives            what is missing, one run after the other
    python -m bench.relatives train --out runs/relatives --turn 1/2  every other run, for a second process
    python -m bench.relatives train --out runs/relatives --start wider   from one kind of first weights alone
    python -m bench.relatives report --out runs/relatives           records of what is there

All runs have the same text, tokens, steps and schedule; seeds decide weights and order. The text is a package
of this Python's own library, which is small: perplexities say which is better on it, and no more. Runs are
small enough for one thread. `report` appends to bench/records/relatives.jsonl; `python -m bench.tables`
writes docs/methods/relatives.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import sysconfig
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from bench.markdown import megabytes, table
from bench.records import RECORDS, Record
from mpcinfer import cost
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.variants import variant
from mpcinfer.training.corpus import prepare_corpus, stored_corpus
from mpcinfer.training.log import read_log
from mpcinfer.training.observer import Observer
from mpcinfer.training.options import FOLDER, RunOptions
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.run import Run

FILE = "relatives.jsonl"
TEXT = "idlelib"
BASE = ModelConfig(
    layers=2, width=64, heads=4, kv_heads=4, head_width=16, hidden=256, vocabulary=512, context=64
)
STEPS, BATCH, SEEDS = 600, 16, 3
STARTS = {
    "GPT-2's": Recipe(steps=STEPS, first_norm_factor=20.0),
    "wider": Recipe(
        steps=STEPS, first_embedding=0.02 * math.sqrt(BASE.width), first_matrix=0.1, first_norm_factor=2.0
    ),
}
"""First weights, the same for all variants. GPT-2's are 0.02 all over, with a factor of 20 in DyT and Derf.
The wider ones have token rows as in DyT's paper, 0.02 sqrt(D), and matrices near 1 / sqrt(D)."""
COMPARED = {
    "SM+LN+G": "gpt2-sm-ln-gelu",
    "SM+DyT+G": "gpt2-sm-dyt-gelu",
    "SM+Derf+G": "gpt2-sm-derf-gelu",
    "SM+LinLN+G": "gpt2-sm-linln-gelu",
    "gaussian": "gpt2-gaussian",
}
"""Variants, and their shapes at GPT-2's size."""
PLANS = ("fss", "fss-faithful", "crypten", "two-party")
TOKENS = 128


def folder(out: Path, name: str, start: str, seed: int) -> Path:
    """Where a run lies."""
    named = "-".join("".join(c for c in each.lower() if c.isalnum()) for each in (name, start))
    return out / f"{named}-seed{seed}"


def all_runs(out: Path, starts: Sequence[str]) -> list[tuple[str, str, int, Path]]:
    """Variant, start, seed and folder of every run, seeds outermost."""
    return [
        (name, start, seed, folder(out, name, start, seed))
        for seed in range(SEEDS)
        for start in starts
        for name in COMPARED
    ]


def train(out: Path, steps: int, turn: tuple[int, int], starts: Sequence[str]) -> None:
    """Trains what is missing; the first run also prepares the data of all."""
    torch.set_num_threads(1)
    console, data = Console(), out / "data"
    if stored_corpus(data) is None:
        source = Path(sysconfig.get_paths()["stdlib"]) / TEXT
        prepare_corpus(data, str(source), BASE.vocabulary, stored=False, say=console.print)
    for name, start, seed, into in all_runs(out, starts)[turn[0] :: turn[1]]:
        if (into / FOLDER / "done").exists():
            continue
        resume = (into / FOLDER / "checkpoint.pt").exists()
        Run(into, options(name, start, seed, steps, data), resume=resume, observer=Observer()).finish()
        (into / FOLDER / "done").touch()
        console.print(f"{name}, {start} start, seed {seed}: done")


def options(name: str, start: str, seed: int, steps: int, data: Path) -> RunOptions:
    """A run's."""
    recipe = dataclasses.replace(
        STARTS[start],
        steps=steps,
        batch=BATCH,
        warmup=steps // 20,
        decay=0.95,
        seed=seed,
        on_divergence="record",
    )
    return RunOptions(
        source=str(data),
        config=variant(name, BASE),
        recipe=recipe,
        evaluate_every=steps,
        checkpoint_every=max(steps // 4, 1),
        entropy_every=0,
        held_out_windows=256,
    )


def report(out: Path, starts: Sequence[str]) -> None:
    """Records every run that is done."""
    for name, start, seed, into in all_runs(out, starts):
        if not (into / FOLDER / "done").exists():
            Console().print(f"{into.name}: not trained yet")
            continue
        log = read_log(into / FOLDER)
        last = next(line for line in reversed(log) if "held_out_loss" in line)
        loss = last["held_out_loss"]
        found = {
            "name": name,
            "start": start,
            "seed": seed,
            "steps": last["step"],
            "held_out_loss": loss if math.isfinite(loss) else None,
            "diverged": any(line.get("diverged") for line in log),
        }
        Record(
            case="relative",
            plan="",
            model=name,
            tokens=BASE.context,
            measured=True,
            bill={},
            extra=found,
        ).append(RECORDS / FILE)


def recorded(start: str) -> dict[tuple[str, int], float | None]:
    """Held-out losses from a start by variant and seed, the latest of each; None for a run that diverged."""
    path = RECORDS / FILE
    found: dict[tuple[str, int], float | None] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        extra = json.loads(line)["extra"]
        if extra.get("start", "GPT-2's") == start:
            found[extra["name"], extra["seed"]] = None if extra["diverged"] else extra["held_out_loss"]
    return found


def trained_table() -> str:
    """Held-out perplexity of every variant from each start, over its seeds."""
    rows: list[list[str]] = []
    for name in COMPARED:
        row, diverged = [name], 0
        for start in STARTS:
            losses = [loss for (each, _), loss in sorted(recorded(start).items()) if each == name]
            known = [math.exp(loss) for loss in losses if loss is not None]
            diverged += len(losses) - len(known)
            row += [f"{statistics.mean(known):.1f}" if known else "not trained"]
            row += [", ".join(f"{each:.1f}" for each in known)]
        rows.append([*row, str(diverged)])
    columns = [column for start in STARTS for column in (f"{start} start, mean", "by seed")]
    return table(["variant", *columns, "diverged"], rows)


def bills_table(plan: str) -> str:
    """The blocks of each at GPT-2's size under a plan, counted."""
    rows: list[list[str]] = []
    for name, model in COMPARED.items():
        total = cost(model, plan=plan, tokens=TOKENS, part="stack").total
        online = total.online_bytes_to_server + total.online_bytes_to_client
        offline = total.offline_bytes_to_server + total.offline_bytes_to_client
        rows.append([name, f"{total.rounds:,}", megabytes(online), megabytes(offline)])
    return table(["blocks", "rounds", "online, both ways", "offline"], rows)


TABLES: dict[str, Callable[[], str]] = {
    **{f"relatives {plan}": partial(bills_table, plan) for plan in PLANS},
    "relatives trained": trained_table,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=["train", "report"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--turn", default="0/1", help="this process's share: i/n takes every n-th run from i")
    parser.add_argument("--start", action="append", choices=list(STARTS), help="one or more; all without it")
    options = parser.parse_args()
    starts = options.start or list(STARTS)
    first, of = (int(part) for part in options.turn.split("/"))
    if options.case == "train":
        train(options.out, options.steps, (first, of), starts)
    else:
        report(options.out, starts)


if __name__ == "__main__":
    main()
