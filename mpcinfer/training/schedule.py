"""The learning rate: linear warm-up, plateau, linear decay to zero."""

from __future__ import annotations


def learning_rate(step: int, *, steps: int, peak: float, warmup: int, decay: float) -> float:
    """Learning rate of step `step` (0-based) of `steps`.

    Rises linearly to `peak` over the first `warmup` steps, stays there, and falls linearly to zero over the
    last `decay * steps` steps, so that the step after the last would have rate 0. Where warm-up and decay
    overlap, the smaller of the two holds. On the plateau the rate does not depend on `steps`: a run may be
    lengthened or shortened until its decay begins.

    Args:
        step: 0 <= step < steps.
        steps: length of the run, >= 1.
        peak: the largest rate, > 0.
        warmup: steps of warm-up, >= 0; 0 starts at `peak`.
        decay: fraction of the run that decays, in [0, 1]; 1 decays from the first step.
    """
    rising = 1.0 if warmup == 0 else min(1.0, (step + 1) / warmup)
    falling_steps = decay * steps
    falling = 1.0 if falling_steps == 0 else min(1.0, (steps - step) / falling_steps)
    return peak * min(rising, falling)


def decay_start(steps: int, decay: float) -> float:
    """The first step count from which the length of the run decides the rate."""
    return steps - decay * steps
