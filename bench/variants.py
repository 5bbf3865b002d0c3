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
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.variants_report import report
from bench.variants_runs import BASE, STEPS, runs
from mpcinfer.training.corpus import Corpus, prepare_corpus, stored_corpus
from mpcinfer.training.observer import Observer
from mpcinfer.training.options import FOLDER
from mpcinfer.training.run import Run
from mpcinfer.training.trainer import StepResult

HELD_OUT_WINDOWS = 1024


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
        report(options.out, options.pictures, quick=options.quick)


if __name__ == "__main__":
    main()
