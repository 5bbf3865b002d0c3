"""How large a model's values get: what calibration saw, what real arithmetic allows, what shapes assume."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mpcinfer.models.config import AttentionForm
from parties.errors import ConfigError

MARGIN = 2.0
"""Values may grow beyond what calibration saw by this factor; scores, whose range is narrow, by 1.5."""
SCORE_MARGIN = 1.5
ACTIVATION_MARGIN = 1.5
"""How far beyond its calibrated range a number may be before a polynomial in place of an activation."""
BOUND_MARGIN = 1.0625
"""What cannot be exceeded in real arithmetic may be in fixed point, by what norms and weights are rounded."""
POWER_MARGIN = 4.0
"""Mean squares may leave their calibrated range by this factor at either end."""
_NO_LIMIT = 128
"""More integer bits than any ring has."""


LOGIT_ROUNDING = 1 / 32
"""Largest difference of two evaluations in range, as a part of the largest logit of calibration. They were
seen to by 1/170 at most; decision 0022 has it model by model."""
LEAST_LOGIT_ROUNDING = 2.0**-4
"""The least of it, for small logits: 16 steps of their format under `fss`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Ranges assumed for shapes without weights, margins included: wide enough for GPT-2-class models."""

    residual: float = 2.0**15
    mean_square: tuple[float, float] = (2.0**-6, 2.0**21)
    linear: float = 32.0
    """Queries, keys and values."""
    scores: float = 64.0
    power_scores: float = 3.75
    """Of power and ReLU attention before a public shift, where range training kept them near 2.5."""
    power_mean: float = 3.0
    """The mean of a row's p-th powers is at most this to the p."""
    pre_activation: float = 128.0
    norm_input: float = 32.0
    """Of norms that are functions of every number."""
    product: float = 4096.0
    """Of a gated unit."""
    embedding: float = 8.0
    normed: float = 64.0
    """The final norm with its gain."""
    logits: float = 512.0


PROFILE = Profile()
POLYNOMIAL_PROFILE = Profile(mean_square=(2.0**-3, 2.0**7), pre_activation=8.0)
"""Of models that were trained for polynomials, whose intervals are narrow."""
POST_NORM_PROFILE = Profile(residual=2.0**9, mean_square=(2.0**-12, 2.0**9), embedding=4.0)
"""Of models whose norms come last: what is added up are a norm's rows and what one block writes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What calibration saw, see `mpcinfer.models.ranges`; None for shapes without weights."""

    ranges: Mapping[str, float] | None

    def largest(self, label: str, otherwise: float, margin: float = MARGIN) -> float:
        """What was seen times a margin, or what is known where that takes no more bits; `otherwise`, margin
        included, for a shape.

        Raises:
            ConfigError: the ranges lack it.
        """
        if self.ranges is None:
            return otherwise
        usual, bound = margin * self.range(label), self.bound(label.rpartition("/")[0])
        return bound if integer_bits(bound) <= integer_bits(usual) else usual

    def bound(self, label: str) -> float:
        """What a label's output cannot exceed; infinite where nobody knows."""
        known = None if self.ranges is None else self.ranges.get(f"{label}/bound")
        return float("inf") if known is None else BOUND_MARGIN * known

    def range(self, label: str) -> float:
        """As it was seen; only for ranges that are there. Raises ConfigError as `largest`."""
        assert self.ranges is not None
        if label not in self.ranges:
            raise ConfigError(f"the model's ranges lack {label!r}; calibrate it again")
        return self.ranges[label]


def rounding_of_logits(ranges: Mapping[str, float]) -> float:
    """What logits of two evaluations in range may differ by."""
    return max(LOGIT_ROUNDING * ranges.get("head.logits/head", 0.0), LEAST_LOGIT_ROUNDING)


def integer_bits(largest: float) -> int:
    """The least b with 2^b > largest; more than any ring has for what has no limit."""
    if largest == float("inf"):
        return _NO_LIMIT
    return math.floor(math.log2(max(largest, 2.0**-8))) + 1


def score_bound(form: AttentionForm, prefix: str, seen: Seen) -> float:
    """Bound on the scores of power and ReLU attention, before and after what is added to them.

    Args:
        prefix: of a layer's attention, `layer3.attn`.

    Raises:
        ConfigError: the ranges lack something.
    """
    if seen.ranges is None:
        return PROFILE.power_scores + abs(form.shift)
    largest = seen.range(f"{prefix}.scores/matmul")
    return SCORE_MARGIN * max(largest, seen.ranges.get(f"{prefix}.scores/offset", 0.0))


def divisor_bounds(form: AttentionForm, prefix: str, seen: Seen, *, scaled: bool) -> tuple[float, float]:
    """Bounds on means of powers plus epsilon: powers grow as scores do. Arguments and errors as above.

    Args:
        scaled: epsilon is a number a head.
    """
    power, shift = form.power, abs(form.shift)
    low_epsilon = high_epsilon = form.epsilon
    if seen.ranges is None:
        least, most = max(shift - PROFILE.power_scores, 0.0) ** power, (PROFILE.power_mean + shift) ** power
    else:
        margin = SCORE_MARGIN**power
        least, most = (seen.range(f"{prefix}.power/divisor_{end}") for end in ("min", "max"))
        least, most = least / margin, most * margin
        if scaled:
            low_epsilon = seen.range(f"{prefix}.power/epsilon_min")
            high_epsilon = seen.range(f"{prefix}.power/epsilon_max")
    return max(least + low_epsilon, 2.0**-24), most + high_epsilon


def assumed_product(key: str) -> float:
    """How large products of a shape without weights may be, by their range's key, margin included."""
    assumed = {
        ".qkv/linear": PROFILE.linear,
        ".scores/matmul": PROFILE.scores,
        ".mix/matmul": PROFILE.linear,
        ".in/linear": PROFILE.pre_activation,
        ".product/mul": PROFILE.product,
        "/diagonal": PROFILE.norm_input,
        "/head": PROFILE.logits,
    }
    return next((most for ending, most in assumed.items() if key.endswith(ending)), PROFILE.product)


def norm_shift(low: float, high: float) -> int:
    """The power of two that a norm's rows are multiplied with, for mean squares from low to high.

    A norm does not change when its row is scaled: this brings mean squares around 4, and those of a range too
    wide for that above 2^-8, below which 16 fraction bits say little.
    """
    return max(1 - round(math.log2(low * high) / 4), math.ceil(-4 - math.log2(low) / 2))
