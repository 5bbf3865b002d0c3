"""Reports of a training run while it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mpcinfer.entropy.summary import EntropySummary
from mpcinfer.training.trainer import StepResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A look at the model during a run: mean held-out loss (nats a token) and a greedy continuation."""

    step: int
    held_out_loss: float
    sample: str

    @property
    def perplexity(self) -> float:
        """exp(loss): how many tokens the model is as good as undecided between."""
        return perplexity(self.held_out_loss)


def perplexity(loss: float) -> float:
    """exp of a loss in nats a token; infinite where a float cannot hold it, NaN for NaN."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


class Observer:
    """Told of a run; a terminal shows it, a test collects it. Does nothing by itself."""

    def on_message(self, text: str) -> None:
        """Something happened besides training: a phase began, weights were taken over."""

    def on_start(self, step: int, steps: int) -> None:
        """Training begins after `step` steps of `steps`."""

    def on_step(self, step: int, result: StepResult, tokens: int, seconds: float) -> None:
        """Step number `step` (1-based) was done: its tokens and seconds."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """The held-out loss was measured."""

    def on_entropies(self, step: int, summary: EntropySummary) -> None:
        """The heads' entropies were measured."""
