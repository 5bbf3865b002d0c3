"""What `mpcinfer train` does with the options it was given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from mpcinfer.cli.shown import shown_model
from mpcinfer.cli.train_progress import TrainingProgress
from mpcinfer.cli.train_settings import run_options
from mpcinfer.models.folder import load_model_folder
from mpcinfer.training.observer import perplexity
from mpcinfer.training.options import RunOptions, stored_options
from mpcinfer.training.processes import Processes, joined_processes
from mpcinfer.training.run import Run
from mpcinfer.training.speed import measured_steps
from parties.errors import ConfigError


def train_as_given(given: Mapping[str, Any]) -> None:
    """Trains as asked; options as in `TrainOptions`, those not given left out."""
    out, minutes, workers = given.get("out"), given.get("minutes"), given.get("workers", 1)
    device, resume = given.get("device", "cpu"), given.get("resume", False)
    if out is None:
        raise ConfigError("give OUT, the folder of the model, on the command line or in --config")
    if "steps" in given and minutes is not None:
        raise ConfigError("give --steps or --minutes, not both")
    if workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}")
    options = run_options(given, stored_options(out) if resume else None)
    with joined_processes() as processes:
        console = Console(quiet=processes.rank > 0)
        if minutes is not None:
            options = _lasting(options, minutes, workers, device, processes, console)
        with TrainingProgress(console) as progress:
            run = Run(
                out,
                options,
                resume=resume,
                observer=progress,
                workers=workers,
                processes=processes,
                device=device,
            )
            run.finish()
        if processes.rank == 0:
            _report(console, out, run)


def _lasting(
    options: RunOptions, minutes: float, workers: int, device: str, processes: Processes, console: Console
) -> RunOptions:
    """Options with as many steps as fit."""
    if processes.count > 1:
        raise ConfigError("--minutes measures one process; give --steps where several share a run")
    chosen = measured_steps(options, minutes, workers=workers, device=device, say=console.print)
    return dataclasses.replace(options, recipe=dataclasses.replace(options.recipe, steps=chosen))


def _report(console: Console, out: Path, run: Run) -> None:
    """Says what was made, from the folder as others will read it."""
    exported = load_model_folder(out)
    loss = run.held_out_loss if run.held_out_loss is not None else float("nan")
    console.print(
        f"{out}: {exported.config.parameters:,} parameters, {run.state.step} steps, "
        f"held-out loss {loss:.4f}, perplexity {perplexity(loss):.2f}"
    )
    console.print(
        f"try: mpcinfer generate 'for i in' --local plain --model {shown_model(out)}",
        markup=False,
        highlight=False,
        soft_wrap=True,  # a line to paste stays one
    )
