"""How many steps fit into a time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import torch

from mpcinfer.training.options import RunOptions
from mpcinfer.training.trainer import TrainingState


def measured_steps(
    options: RunOptions,
    minutes: float,
    *,
    workers: int = 1,
    device: str = "cpu",
    trial: int = 12,
    say: Callable[[str], None],
) -> int:
    """How many steps fit into `minutes`, from `trial` steps on made-up tokens (the first two not timed).

    Evaluations and checkpoints take a few percent more, and other work on the machine changes the speed.
    """
    recipe, config = options.recipe, options.config
    state = TrainingState(
        config,
        dataclasses.replace(recipe, steps=trial, on_divergence="record"),
        penalty=options.penalty,
        ranges=options.ranges,
        workers=workers,
        device=device,
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    began = time.perf_counter()
    for number in range(trial):
        if number == 2:
            began = time.perf_counter()
        shape = (recipe.batch, config.context + 1)
        tokens = torch.randint(config.vocabulary, shape, generator=generator)
        state.advance(tokens[:, :-1], tokens[:, 1:])
    seconds = (time.perf_counter() - began) / (trial - 2)
    steps = max(1, int(minutes * 60 / seconds))
    say(f"{seconds:.3f} s a step measured: {steps} steps in {minutes:g} minutes")
    return steps
