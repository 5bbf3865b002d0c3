"""How far power and ReLU attention of the FSS suite may be from the float ones, entry by entry.

With u(f) = 2^-f: what is read with f fraction bits is off by less than u(f), whether it was rounded to the
nearest, down, or at random.
"""

from __future__ import annotations

import torch

from mpcinfer.models.config import AttentionForm
from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.precision import Precision
from protocols.fss.gates.lookup_activation import Activation
from tests.mpcinfer.backends.error_bounds import Bounded


def power_bound(
    scores: Bounded,
    v: Bounded,
    lengths: torch.Tensor,
    form: AttentionForm,
    epsilon: torch.Tensor | float,
    widths: AttentionWidths,
    p: Precision,
    binades: float,
) -> Bounded:
    """s^p over (sum + epsilon L), times v: o = M / A.

    With M off by m and A by a, M / A is off by (m + |o| a) / (A - a). M over R = 2^ceil(log2 L) is cut to
    `mixed` bits, c = u(mixed); R / A comes as (R / A) (1 + d) + h, d that of `octaves` and h half a unit.

    Args:
        scores: hidden ones 0, without error.
        lengths: keys that each row sees, [T, 1].
        epsilon: a number, or one a head, [H, 1, 1].
    """
    weights, rows = widths.weighting, _rows(lengths)
    powers = _powers(scores, form.power, p.square, weights.factor)
    mixed, m = powers.value @ v.value, powers.error @ v.value.abs()
    m = m + (powers.value + powers.error) @ v.error
    divisor = powers.value.sum(-1, keepdim=True) + epsilon * lengths
    a = powers.error.sum(-1, keepdim=True) + 2.0 ** -(weights.frac + 1)
    least = divisor - a
    assert bool((least > 0).all()), "the bound says nothing: errors of powers are too large"
    output = mixed / divisor
    error = (m + output.abs() * a) / least
    size = output.abs() + error
    c, h = 2.0**-weights.mixed, 2.0 ** -(weights.inverse + 1)
    error = error + size * binades + c * (1 + binades) * rows / least + ((mixed.abs() + m) / rows + c) * h
    return Bounded(output, error + _held(widths, p))


def relu_bound(
    scores: Bounded,
    v: Bounded,
    lengths: torch.Tensor,
    widths: AttentionWidths,
    p: Precision,
    *,
    exact_truncation: bool,
) -> Bounded:
    """max(s, 0) / L times v; R / L, R = 2^ceil(log2 L), is off by half a unit of `inverse`."""
    weights, rows = widths.weighting, _rows(lengths)
    stated = Activation(
        "relu",
        ring_bits=64,
        frac_bits=weights.frac,
        index_bits=20,
        index_frac=p.index,
        table_frac=weights.frac,
        centred=exact_truncation,
    ).max_abs_error
    hidden = torch.arange(scores.value.shape[-1]) >= lengths
    positive = torch.relu(scores.value)
    off = (scores.error + 2.0**-weights.frac + stated).masked_fill(hidden, 0.0)
    mixed, m = positive @ v.value, off @ v.value.abs() + (positive + off) @ v.error
    c, half = 2.0**-weights.mixed, 2.0 ** -(weights.inverse + 1)
    error = m / lengths + c * rows / lengths + ((mixed.abs() + m) / rows + c) * half
    return Bounded(mixed / lengths, error + _held(widths, p))


def _powers(x: Bounded, power: int, square_frac: int, factor_frac: int) -> Bounded:
    """By squarings, each of what was read of the one before; 0 stays 0, as hidden scores do."""
    hidden = (x.value == 0) & (x.error == 0)

    def seen(value: Bounded, frac_bits: int) -> Bounded:
        return Bounded(value.value, value.error + 2.0**-frac_bits)

    def product(a: Bounded, b: Bounded) -> Bounded:
        error = a.value.abs() * b.error + b.value.abs() * a.error + a.error * b.error
        return Bounded(a.value * b.value, error)

    def squared(value: Bounded) -> Bounded:
        return product(value, value)

    if power == 2:
        result = squared(seen(x, factor_frac))
    else:
        second = squared(seen(x, square_frac))
        fourth = squared(seen(second, factor_frac if power == 4 else square_frac))
        if power == 4:
            result = fourth
        else:
            other = second if power == 6 else fourth
            frac_bits = square_frac if power == 6 else factor_frac
            result = product(seen(other, frac_bits), seen(fourth, factor_frac))
    return Bounded(result.value, result.error.masked_fill(hidden, 0.0))


def _rows(lengths: torch.Tensor) -> torch.Tensor:
    """2^ceil(log2 L)."""
    return 2.0 ** torch.log2(lengths.double()).ceil()


def _held(widths: AttentionWidths, p: Precision) -> float:
    """What is cut off before the server holds the output."""
    if widths.reopened:
        return 2.0**-p.mixed
    whole = widths.weighting.mixed + widths.weighting.inverse
    return 2.0**-widths.held if widths.held < whole else 0.0
