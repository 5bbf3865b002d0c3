"""A table's worth of variants: trained alike, then evaluated, billed and run privately.

    python -m bench.variants train --out runs/variants            what is missing, one run after the other
    python -m bench.variants train --out runs/variants --turn 1/2  every other run, for a second process
    python -m bench.variants report --out runs/variants           records, plots and tables

All runs have the same data, tokens, steps and schedule; seeds decide weights and order. A run that was
interrupted goes on where it stood. `report` evaluates what is there, runs every variant privately and
compares with its reference, and appends to bench/records/variants.jsonl; `python -m bench.tables` then
writes docs/variants.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mpcinfer.entropy.penalty import EntropyPenalty
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.variants import variant
from mpcinfer.training.corpus import Corpus, prepare_corpus, stored_corpus
from mpcinfer.training.observer import Observer
from mpcinfer.training.options import FOLDER, RunOptions
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.run import Run
from mpcinfer.training.trainer import StepResult

BASE = ModelConfig(
    layers=4, width=128, heads=4, kv_heads=4, head_width=32, hidden=512, vocabulary=1024, context=128
)
"""The common sizes of a small table."""
STEPS, BATCH = 1000, 16
HELD_OUT_WINDOWS = 1024
PUBLISHED = EntropyPenalty(strength=0.16 / (BATCH * BASE.context))
"""As published: sums, log T, a hard gate, learned thresholds; its strength for this batch and length."""
CORRECTED = EntropyPenalty(
    strength=0.16, reduction="mean", normalise="causal_row", gate="hinge", thresholds="detached"
)
"""Rows over what they can reach, a mean, no jump, thresholds that follow their heads."""
RANGES = RangePenalty(strength=0.3, scores=3.0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a table: a variant, how it is trained, and with how many seeds.

    Attributes:
        stressed: twice as deep and at twice the rate, for half the steps and watched closely.
    """

    name: str
    variant: str
    seeds: int = 1
    penalty: EntropyPenalty | None = None
    ranges: RangePenalty | None = None
    stressed: bool = False

    @property
    def config(self) -> ModelConfig:
        layers = BASE.layers * (2 if self.stressed else 1)
        return variant(self.variant, dataclasses.replace(BASE, layers=layers))

    def folder(self, out: Path, seed: int) -> Path:
        plain = "".join(c if c.isalnum() else "-" for c in self.name.lower()).strip("-")
        return out / f"{plain}{'-stressed' if self.stressed else ''}-seed{seed}"

    def options(self, source: str, seed: int, steps: int) -> RunOptions:
        steps = steps // 2 if self.stressed else steps
        recipe = Recipe(
            steps=steps,
            batch=BATCH,
            learning_rate=4e-3 if self.stressed else 2e-3,
            warmup=steps // 20,
            decay=0.95,
            seed=seed,
            on_divergence="record",
        )
        return RunOptions(
            source=source,
            config=self.config,
            recipe=recipe,
            penalty=self.penalty,
            ranges=self.ranges,
            evaluate_every=steps,
            checkpoint_every=max(steps // 4, 1),
            entropy_every=max(steps // (50 if self.stressed else 10), 1),
        )


ENTRIES = (
    Entry("SM+LN+G", "SM+LN+G", seeds=3),
    Entry("SM+ScFuFFN", "SM+ScFuFFN", seeds=3),
    Entry("EReg(SM(t)+ScFuFFN)", "EReg(SM(t)+ScFuFFN)", seeds=3, penalty=PUBLISHED),
    Entry("power4", "power4", seeds=3),
    Entry("SM+LN+R", "SM+LN+R"),
    Entry("SM+G", "SM+G"),
    Entry("SM", "SM"),
    Entry("power4, ranges", "power4", ranges=RANGES),
    Entry("SM(t)+ScFuFFN", "SM(t)+ScFuFFN"),
    Entry("SM+R", "SM+R"),
    Entry("SM+LN", "SM+LN"),
    Entry("EReg(SM+G)", "SM+G", penalty=PUBLISHED),
    Entry("EReg(SM)", "SM", penalty=PUBLISHED),
    Entry("EReg corrected", "EReg(SM(t)+ScFuFFN)", penalty=CORRECTED),
    Entry("SM+ScFFN", "SM+ScFFN"),
    Entry("SM+WNorm", "SM+WNorm"),
    Entry("SM+SNorm", "SM+SNorm"),
    Entry("power2", "power2"),
    Entry("2quad", "2quad"),
    Entry("relu attention", "relu"),
    Entry("SM", "SM", stressed=True),
    Entry("EReg(SM)", "SM", penalty=PUBLISHED, stressed=True),
    Entry("SM+G", "SM+G", stressed=True),
    Entry("EReg(SM+G)", "SM+G", penalty=PUBLISHED, stressed=True),
    Entry("SM+ScFuFFN", "SM+ScFuFFN", stressed=True),
    Entry("EReg(SM(t)+ScFuFFN)", "EReg(SM(t)+ScFuFFN)", penalty=PUBLISHED, stressed=True),
    Entry("SM+LN+G", "SM+LN+G", stressed=True),
)


def runs() -> list[tuple[Entry, int]]:
    """Every run: what tells most first."""
    most = max(entry.seeds for entry in ENTRIES)
    more = [(entry, seed) for seed in range(1, most) for entry in ENTRIES if seed < entry.seeds]
    return [(entry, 0) for entry in ENTRIES[:8]] + more + [(entry, 0) for entry in ENTRIES[8:]]


class _Bar(Observer):
    """Moves a progress bar."""

    def __init__(self, progress: Progress, task: int) -> None:
        self._progress, self._task = progress, task

    def on_start(self, step: int, steps: int) -> None:
        self._progress.update(self._task, completed=step, total=steps)

    def on_step(self, step: int, result: StepResult, tokens: int, seconds: float) -> None:
        told = f"loss {result.loss:.3f}, {tokens / seconds:,.0f} tokens/s"
        self._progress.update(self._task, completed=step, told=told)


def train(out: Path, steps: int, turn: tuple[int, int]) -> None:
    """Trains what is missing; the first run also prepares the data of all."""
    torch.set_num_threads(1)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
    )
    todo = [each for i, each in enumerate(runs()) if i % turn[1] == turn[0]]
    with Progress(*columns, TimeRemainingColumn(), console=Console()) as progress:
        for entry, seed in todo:
            folder = entry.folder(out, seed)
            if (folder / FOLDER / "done").exists():
                continue
            task = progress.add_task(f"{entry.name}, seed {seed}", total=steps, told="")
            source = str(_data(out, progress))
            resume = (folder / FOLDER / "checkpoint.pt").exists()
            options = entry.options(source, seed, steps)
            Run(folder, options, resume=resume, observer=_Bar(progress, task)).finish()
            (folder / FOLDER / "done").touch()


def _data(out: Path, progress: Progress) -> Path:
    """The corpus of all runs, made once from this machine's Python sources; few windows are held out."""
    folder = out / "data"
    if stored_corpus(folder) is None:
        corpus = prepare_corpus(folder, "python", BASE.vocabulary, stored=False, say=progress.console.print)
        _hold_out_less(folder, corpus)
    return folder


def _hold_out_less(folder: Path, corpus: Corpus) -> None:
    """Keeps the first windows of the held-out stream, and the count of their characters."""
    held_out = corpus.held_out[: HELD_OUT_WINDOWS * BASE.context + 1]
    np.save(folder / "held_out.npy", held_out)
    characters = len(corpus.tokenizer.decode(held_out.tolist()))
    counts = dataclasses.replace(corpus.counts, held_out_characters=characters)
    (folder / "data.json").write_text(json.dumps(dataclasses.asdict(counts), indent=2) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=["train", "report"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--pictures", type=Path, default=Path("docs/pictures"), help="where pictures go")
    parser.add_argument("--quick", action="store_true", help="report: without bills and private runs")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--turn", default="0/1", help="this process's share: i/n takes every n-th run from i on"
    )
    options = parser.parse_args()
    first, of = (int(part) for part in options.turn.split("/"))
    if options.case == "train":
        train(options.out, options.steps, (first, of))
    else:
        from bench.variants_report import report

        report(options.out, options.pictures, quick=options.quick)


if __name__ == "__main__":
    main()
