"""DyT, Derf, linear norms and Gaussian kernels beside softmax and layer norms: trained alike, and billed.

    python -m bench.relatives train --out runs/relatives            what is missing, one run after the other
    python -m bench.relatives train --out runs/relatives --turn 1/2  every other run, for a second process
    python -m bench.relatives report --out runs/relatives           records of what is there

All runs have the same text, tokens, steps and schedule; seeds decide weights and order. The text is a package
of this Python's own library, which is small: perplexities say which is better on it, and no more. Runs are
small enough for one thread. `report` appends to bench/records/relatives.jsonl; `python -m bench.tables`
writes docs/methods/relatives.md.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sysconfig
from collections.abc import Callable
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
FIRST_NORM_FACTOR = 20.0
"""Of DyT and Derf: embeddings begin with a deviation of 0.02, where papers multiply them by sqrt(D) first."""
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


def folder(out: Path, name: str, seed: int) -> Path:
    """Where a run lies."""
    return out / f"{''.join(c if c.isalnum() else '-' for c in name.lower())}-seed{seed}"


def train(out: Path, steps: int, turn: tuple[int, int]) -> None:
    """Trains what is missing; the first run also prepares the data of all."""
    torch.set_num_threads(1)
    console, data = Console(), out / "data"
    if stored_corpus(data) is None:
        source = Path(sysconfig.get_paths()["stdlib"]) / TEXT
        prepare_corpus(data, str(source), BASE.vocabulary, stored=False, say=console.print)
    runs = [(name, seed) for seed in range(SEEDS) for name in COMPARED]
    for name, seed in [each for i, each in enumerate(runs) if i % turn[1] == turn[0]]:
        into = folder(out, name, seed)
        if (into / FOLDER / "done").exists():
            continue
        resume = (into / FOLDER / "checkpoint.pt").exists()
        Run(into, options(name, seed, steps, data), resume=resume, observer=Observer()).finish()
        (into / FOLDER / "done").touch()
        console.print(f"{name}, seed {seed}: done")


def options(name: str, seed: int, steps: int, data: Path) -> RunOptions:
    """A run's."""
    recipe = Recipe(
        steps=steps,
        batch=BATCH,
        warmup=steps // 20,
        decay=0.95,
        seed=seed,
        first_norm_factor=FIRST_NORM_FACTOR,
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


def report(out: Path) -> None:
    """Records every run that is done."""
    for seed in range(SEEDS):
        for name in COMPARED:
            into = folder(out, name, seed)
            if not (into / FOLDER / "done").exists():
                Console().print(f"{into.name}: not trained yet")
                continue
            log = read_log(into / FOLDER)
            last = next(line for line in reversed(log) if "held_out_loss" in line)
            loss = last["held_out_loss"]
            found = {
                "name": name,
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


def trained_table() -> str:
    """Held-out perplexity of every variant, over its seeds; the latest record of each counts."""
    path = RECORDS / FILE
    found: dict[tuple[str, int], float | None] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        extra = json.loads(line)["extra"]
        found[extra["name"], extra["seed"]] = None if extra["diverged"] else extra["held_out_loss"]
    rows: list[list[str]] = []
    for name in COMPARED:
        losses = [loss for (each, _), loss in sorted(found.items()) if each == name]
        known = [math.exp(loss) for loss in losses if loss is not None]
        mean = f"{statistics.mean(known):.1f}" if known else "not trained"
        rows.append([name, mean, ", ".join(f"{each:.1f}" for each in known), str(len(losses) - len(known))])
    return table(["variant", "perplexity, mean", "by seed", "diverged"], rows)


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
    options = parser.parse_args()
    first, of = (int(part) for part in options.turn.split("/"))
    if options.case == "train":
        train(options.out, options.steps, (first, of))
    else:
        report(options.out)


if __name__ == "__main__":
    main()
