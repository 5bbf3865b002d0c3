"""How to train: everything that decides a run beside data, shape and penalties."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from mpcinfer.training.schedule import Schedule
from parties.errors import ConfigError

Precision = Literal["bfloat16", "float32"]
OnDivergence = Literal["refuse", "record"]
Accelerate = Literal["none", "reject", "random"]
RateControl = Literal["none", "rdbd"]
DEFAULT_STEPS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What, beside the data, the shape and the penalties, decides a run.

    Attributes:
        steps: length of the run.
        batch: windows a step, over all processes and micro-batches.
        accumulate: micro-batches that a step is computed in, one after another, to save memory; the result
            differs in the last digits only.
        learning_rate: the largest rate of AdamW.
        warmup: steps of linear warm-up.
        schedule: how the rate falls after its plateau: `linear`, `cosine`, or `constant` (it does not).
        decay: fraction of the run over which the rate falls.
        floor: the rate that it falls to, as a fraction of the largest.
        weight_decay: on matrices only, decoupled.
        beta1, beta2, adam_epsilon: of AdamW.
        clip: the gradient's norm is scaled down to this; `inf` for never.
        seed: of the first weights and of the order of the data.
        precision: of the matrix products; weights, optimizer, penalties and loss are float32 in either case.
        first_temperature: softmax temperatures (divisors of the scores) to begin with.
        first_alpha, first_beta: residual scales to begin with: beta x + FFN(x) / alpha.
        first_offset: attention offsets to begin with.
        first_embedding, first_positions: standard deviations of token and of position tables to begin with.
        first_matrix: that of all other matrices, before what depth makes of it (`initial_weights`).
        first_norm_factor: what DyT and Derf multiply the residual with to begin with.
        on_divergence: what to do about a loss or gradient that is not finite: `refuse` raises an error,
            `record` ends the run and writes it to the log.
        accelerate: what is done to AdamW's steps: `reject` those against the gradient
            (`RejectAccelerating`), or lengthen gradients along `random` vectors (`RandomVectorAccelerating`).
        rate_control: `rdbd` multiplies the schedule by a factor found while training
            (`RegrettableDeltaBarDelta`).
    """

    steps: int
    batch: int = 8
    accumulate: int = 1
    learning_rate: float = 2e-3
    warmup: int = 200
    schedule: Schedule = "linear"
    decay: float = 0.4
    floor: float = 0.0
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    adam_epsilon: float = 1e-8
    clip: float = 1.0
    seed: int = 0
    precision: Precision = "bfloat16"
    first_temperature: float = 1e-2
    first_alpha: float = 1.0
    first_beta: float = 1.0
    first_offset: float = 1.0
    first_embedding: float = 0.02
    first_positions: float = 0.02
    first_matrix: float = 0.02
    first_norm_factor: float = 0.5
    on_divergence: OnDivergence = "refuse"
    accelerate: Accelerate = "none"
    rate_control: RateControl = "none"

    def __post_init__(self) -> None:
        for names, right, expected in _CHECKS:
            for name in names:
                value = getattr(self, name)
                if not right(value):
                    raise ConfigError(f"{name} must be {expected}, got {value}")
        choices = {
            "precision": Precision,
            "schedule": Schedule,
            "on_divergence": OnDivergence,
            "accelerate": Accelerate,
            "rate_control": RateControl,
        }
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(f"{name} must be one of {get_args(kind)}, got {getattr(self, name)!r}")
        if self.accumulate > self.batch:
            raise ConfigError(f"a batch of {self.batch} cannot be cut into {self.accumulate} micro-batches")


_CHECKS: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("steps", "batch", "accumulate"), lambda value: value >= 1, "at least 1"),
    (("learning_rate", "clip", "adam_epsilon", "first_temperature"), lambda value: value > 0, "above 0"),
    (("first_embedding", "first_positions", "first_matrix"), lambda value: value > 0, "above 0"),
    (("first_norm_factor",), lambda value: value > 0, "above 0"),
    (("warmup", "weight_decay", "seed"), lambda value: value >= 0, "at least 0"),
    (("decay", "floor"), lambda value: 0 <= value <= 1, "a fraction in [0, 1]"),
    (("beta1", "beta2"), lambda value: 0 <= value < 1, "in [0, 1)"),
    (
        ("first_alpha", "first_beta"),
        lambda value: math.isfinite(value) and value != 0,
        "finite and not 0",
    ),
)
