"""The learning rate: linear warm-up, plateau, and a fall to a floor."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["linear", "cosine", "constant"]


def learning_rate(
    step: int,
    *,
    steps: int,
    peak: float,
    warmup: int,
    decay: float,
    schedule: Schedule = "linear",
    floor: float = 0.0,
) -> float:
    """Learning rate of step `step` (0-based) of `steps`.

    Rises linearly to `peak` over the first `warmup` steps, stays there, and falls over the last
    `decay * steps` steps, linearly or as half a cosine wave, so that the step after the last would have rate
    `floor * peak`. Where warm-up and decay overlap, the smaller of the two holds. On the plateau the rate
    does not depend on `steps`: a run may be lengthened or shortened until its decay begins.

    Args:
        step: 0 <= step < steps.
        steps: length of the run, >= 1.
        peak: the largest rate, > 0.
        warmup: steps of warm-up, >= 0; 0 starts at `peak`.
        decay: fraction of the run that decays, in [0, 1]; 1 decays from the first step.
        schedule: the form of the fall; `constant` does not fall, whatever `decay`.
        floor: fraction of `peak`, in [0, 1].
    """
    rising = 1.0 if warmup == 0 else min(1.0, (step + 1) / warmup)
    falling_steps = 0.0 if schedule == "constant" else decay * steps
    falling = 1.0 if falling_steps == 0 else min(1.0, (steps - step) / falling_steps)
    if schedule == "cosine":
        falling = (1 - math.cos(math.pi * falling)) / 2
    return peak * min(rising, floor + (1 - floor) * falling)


def decay_start(steps: int, decay: float, schedule: Schedule = "linear") -> float:
    """The first step count from which the length of the run decides the rate."""
    return math.inf if schedule == "constant" else steps - decay * steps
