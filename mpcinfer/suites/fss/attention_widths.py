"""Fraction bits and bounds of attention weights of every kind, from how large scores and divisors get.

Rows of power and ReLU attention are multiplied by public powers of two, so that a row of L keys has the sum
that one of 2^row_bits would have, up to a factor of two: what is divided, and by what, then varies as means
do and not with L.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from mpcinfer.models.bounds import PROFILE, SCORE_MARGIN, Seen, divisor_bounds, integer_bits, score_bound
from mpcinfer.models.config import AttentionForm, ModelConfig
from mpcinfer.models.prefix_formats import LARGEST_SQUARES, LARGEST_SUM, LEAST_DIVISOR
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.state_widths import StateWidths, published_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class NormWidths:
    """A norm reads x with `keep` fraction bits, sums squares in `square_bits`, and takes a root of `frac`
    bits.

    Their product has `held` fraction bits when it goes to the server: a ring `cut` bits narrower.
    """

    low: float
    high: float
    input_frac: int
    frac: int
    held: int
    square_bits: int

    @property
    def dropped_bits(self) -> int:
        return self.input_frac + self.frac - self.held


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighting:
    """Attention weights, before rows are divided.

    Attributes:
        scores: bound on scores, offsets and shift included, capped where they have a cap.
        products: bound on scores before their cap; 0 where they have none.
        output: bound on weights times values, divided.
        frac: fraction bits of a weight: of exp, a power, or ReLU.
        factor: fraction bits of what is multiplied last for a power.
        row_bits: rows are brought to 2^row_bits keys; 0 for softmax, whose sums are taken as they are.
        hidden_keys: rows have a state of a hidden number of keys, and count as 2^row_bits keys as they are.
        low, high: of divisors: sums of exp; means of powers plus epsilon.
        largest_sum: of a row's weights; largest_mix: of weights times values.
        mixed: fraction bits of weights times values, before they are divided.
        inverse: fraction bits of what they are multiplied with.
        hidden: subtracted from scores of padding, and added to all others; 0 where there is no padding.
            `scores` then bounds what they are below their row's largest, too.
    """

    scores: float
    output: float
    frac: int
    factor: int = 0
    row_bits: int = 0
    hidden_keys: bool = False
    low: float = 1.0
    high: float = 1.0
    largest_sum: float
    largest_mix: float
    mixed: int
    inverse: int
    hidden: float = 0.0
    products: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionWidths:
    """Rings of one layer's attention."""

    norm: NormWidths
    """The block's norm; where it has none, that of the profile."""
    weighting: Weighting
    qkv_bits: int
    """Ring bits of the linear layer into queries, keys and values."""
    reading: int
    """Fraction bits of that layer's weights."""
    extended: tuple[bool, bool]
    """Whether queries and keys, and values, are opened in a narrow ring and then extended to the wide one
    that attention needs."""
    qkv_integer: int
    """Integer bits of that narrow ring."""
    score_bits: int
    score_integer: int
    """log2 of the bound on scores."""
    product_integer: int
    """The same before their cap."""
    mix_bits: int
    """Ring bits of weights, and of their product with values."""
    state: StateWidths | None
    """Of the states into which keys and values move; None where they stay."""
    sum_bits: int
    quotient_bits: int
    """Ring bits of attention's output as it is computed: those of the layer that reads it, with all fraction
    bits; or what it needs by itself where it is opened."""
    held: int
    """Fraction bits of that output when it goes to the server."""
    reopened: bool
    """Whether that output is opened and truncated, because `out_bits` has too few bits for its fraction."""
    writing: int
    """Fraction bits of the weights that read that output."""
    out_bits: int

    @property
    def input_bits(self) -> tuple[int, int, int]:
        """Ring bits of queries, keys and values as they are published: of the widest product each is in."""
        return published_bits(self.score_bits, self.mix_bits, self.state)


HIDDEN = 12.0
"""How far below its row's largest score padding is: exp of minus that is 1/20 of a weight's last place."""


def weighting(
    config: ModelConfig,
    layer: int,
    seen: Seen,
    p: Precision,
    max_context: int,
    *,
    padded: bool = False,
    state: bool = False,
) -> Weighting:
    """What a layer's attention weights are kept in.

    Args:
        max_context: the most keys of a row.
        padded: (softmax) some keys may be padding, which repeats a sequence's first token: with learned
            positions at that token's position, so that its scores are those of that token; with RoPE at
            positions of its own, so that they may be as far above a row's largest as others are below.
        state: (softmax, power 2) rows have a prefix's state beside their keys.

    Raises:
        ConfigError: the ranges lack something.
    """
    prefix = f"layer{layer}.attn"
    values = min(seen.largest(f"{prefix}.qkv/linear", PROFILE.linear), seen.bound(f"{prefix}.mix"))
    if config.attention == "softmax":
        keys = min(max_context, config.window(layer) or max_context)
        usual = _softmax_weighting(prefix, values, seen, p, keys, config.score_cap)
        usual = _beside_state(usual, values, p) if state else usual
        return _hiding(usual, config, prefix, seen) if padded else usual
    rows = (max_context - 1).bit_length()
    if config.attention == "gaussian":
        return _kernel_weighting(prefix, values, seen, p)
    if config.attention == "relu":
        return _relu_weighting(config.form, prefix, values, seen, p, rows)
    usual = _power_weighting(config, prefix, values, seen, p, rows)
    return _beside_squares(usual, values, p) if state else usual


def _softmax_weighting(
    prefix: str, values: float, seen: Seen, p: Precision, max_context: int, cap: float
) -> Weighting:
    largest_sum = max_context * math.exp(2.0**p.step)  # maxima are exact to 2^step
    scores = seen.largest(f"{prefix}.scores/matmul", PROFILE.scores, SCORE_MARGIN)
    return Weighting(
        scores=min(scores, cap) if cap else scores,
        products=scores if cap else 0.0,
        output=values,
        frac=p.power,
        low=math.exp(-(2.0**p.step) - 0.125),
        high=largest_sum,
        largest_sum=largest_sum,
        largest_mix=largest_sum * values,
        mixed=p.mixed,
        inverse=p.inverse + integer_bits(largest_sum),
    )


def _beside_state(usual: Weighting, values: float, p: Precision) -> Weighting:
    """With room for what a state adds, which may stand for more values than a row's keys do."""
    largest_sum = usual.largest_sum + LARGEST_SUM
    return dataclasses.replace(
        usual,
        output=2.0 * values,
        low=min(usual.low, LEAST_DIVISOR),
        high=largest_sum,
        largest_sum=largest_sum,
        largest_mix=2.0 * largest_sum * values,
        inverse=p.inverse + integer_bits(largest_sum),
    )


def _beside_squares(usual: Weighting, values: float, p: Precision) -> Weighting:
    """With room for what a state of a hidden number of keys adds to rows that are not brought to means: from
    one key's divisor to that of all keys and the largest state (`reciprocal` has room for `LEAST_KEPT`)."""
    largest_sum = usual.largest_sum + LARGEST_SQUARES
    high = largest_sum / 2.0**usual.row_bits
    return dataclasses.replace(
        usual,
        output=usual.output + values,
        hidden_keys=True,
        low=usual.low / 2.0**usual.row_bits,
        high=high,
        largest_sum=largest_sum,
        largest_mix=usual.largest_mix + LARGEST_SQUARES * values,
        mixed=usual.mixed + usual.row_bits,
        inverse=p.inverse + integer_bits(high),
    )


_KERNEL_KEYS = 16.0
"""Keys that a query is assumed to weigh with 1 altogether, of shapes without weights."""


def _kernel_weighting(prefix: str, values: float, seen: Seen, p: Precision) -> Weighting:
    """Weights up to 1 of a Gaussian kernel, which are not divided. Half squares are added up to scores."""
    squares = seen.largest(f"{prefix}/half_squares", PROFILE.scores, SCORE_MARGIN)
    output = seen.largest(f"{prefix}.mix/matmul", _KERNEL_KEYS * values)
    return Weighting(
        scores=max(seen.largest(f"{prefix}.scores/matmul", PROFILE.scores, SCORE_MARGIN), squares),
        output=output,
        frac=p.power,
        largest_sum=1.0,
        largest_mix=output,
        mixed=p.mixed,
        inverse=0,
    )


def _hiding(usual: Weighting, config: ModelConfig, prefix: str, seen: Seen) -> Weighting:
    """With room for scores of padding, which are to have no weight, and for how far they are below others."""
    spread = seen.largest(f"{prefix}.softmax/spread", PROFILE.scores, SCORE_MARGIN)
    spread = min(spread, 2 * usual.scores)
    apart = HIDDEN + (spread if config.positions == "rope" else 0.0)
    scores = max(usual.scores + apart / 2, spread + apart)
    return dataclasses.replace(usual, scores=scores, hidden=apart / 2)


def _relu_weighting(
    form: AttentionForm, prefix: str, values: float, seen: Seen, p: Precision, rows: int
) -> Weighting:
    scores = score_bound(form, prefix, seen)
    output = seen.largest(f"{prefix}.mix/matmul", scores * values)
    return Weighting(
        scores=scores,
        output=output,
        frac=p.power,
        row_bits=rows,
        largest_sum=scores * 2.0**rows,
        largest_mix=output * 2.0**rows,
        mixed=p.mixed,
        inverse=p.rotation,
    )


def _power_weighting(
    config: ModelConfig, prefix: str, values: float, seen: Seen, p: Precision, rows: int
) -> Weighting:
    low, high = divisor_bounds(config.form, prefix, seen, scaled=config.attention_scaled)
    output = seen.largest(f"{prefix}.mix/matmul", values)
    factor = max(p.square - 1, math.ceil((p.divisor - math.log2(low)) / 2))
    return Weighting(
        scores=score_bound(config.form, prefix, seen),
        output=output,
        frac=factor + (p.square if config.power == 6 else factor),
        factor=factor,
        row_bits=rows,
        low=low,
        high=high,
        largest_sum=high * 2.0**rows,
        largest_mix=output * high * 2.0**rows,
        # A row of L keys counts as 2^row_bits, which is less than twice as many as a multiple of it.
        mixed=max(p.mixed - 3 + math.ceil(1 - math.log2(low)), 4),
        inverse=p.inverse + integer_bits(high),
    )
