"""The nonlinear functions of the fixed-point reference: from the grid, through float64, back to the grid.

Each takes ring elements with `frac_bits` fraction bits, evaluates the real function of the numbers they
stand for, and rounds once to nearest: the result is within half a unit of the last place, 2^-(frac_bits + 1),
of the true one, plus float64's own error, stated where it is more than a few times 2^-53 relative.

The results depend on the values alone, not on where they lie in a tensor, how many rows come with them or
how many threads run: transcendental functions are called one number at a time, sums are taken over integers,
and all else is IEEE addition, product, quotient and square root. So decoding with a KV cache equals a full
forward bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import numpy as np
import torch

from mpcinfer.backends.attention_weights import visible_keys
from mpcinfer.models.config import ActivationKind
from mpcinfer.models.rope import Rope
from parties.errors import RangeError
from protocols.fixed_point import (
    LIMIT,
    check_range,
    decode,
    encode,
    largest_magnitude,
    mul,
    range_message,
    truncate,
)
from protocols.key_pattern import KeyPattern

SUM_BITS = 48
"""Fraction bits of numbers in [0, 1] that are summed as integers: sums of up to 2^14 of them are exact."""


Patterns = tuple[KeyPattern, ...]


def causal_softmax(
    scores: torch.Tensor,
    start: int,
    frac_bits: int,
    name: str,
    *,
    window: int = 0,
    causal: bool = True,
    patterns: Patterns = (),
) -> torch.Tensor:
    """Softmax over the keys each query may see; exactly zero on the others.

    Args:
        scores: ring elements [..., T, S]; query i stands at position start + i and sees keys up to it.
        start: position of the first query.
        frac_bits: fraction bits of scores and result.
        name: what an error calls this tensor.
        window: a query sees at most this many keys, its own the last; 0 for all up to its own.
        causal: a query sees the keys up to its own; otherwise all S.
        patterns: a head's each, or none: which of them its queries see.

    Returns:
        Weights [..., T, S] in [0, 1]. A row's sum is 1 up to half a unit of the last place a visible key.
        Float64's own error is below S * 2^-48.

    Raises:
        RangeError: more than 2^14 keys.
    """
    if scores.shape[-1] > 1 << (62 - SUM_BITS):
        raise RangeError(f"{name}: softmax over {scores.shape[-1]} keys, at most {1 << (62 - SUM_BITS)}")
    hidden = ~visible_keys(scores, start, window, causal=causal, patterns=patterns)
    row_max = scores.masked_fill(hidden, -LIMIT).amax(dim=-1, keepdim=True)
    distance = decode(scores - row_max, frac_bits)
    visible = (~hidden).expand_as(scores)
    powers = torch.zeros(scores.shape, dtype=torch.int64)
    powers[visible] = encode(_each(math.exp, distance[visible]), SUM_BITS, name)
    total = powers.sum(dim=-1, keepdim=True)
    return encode(powers.to(torch.float64) / total.to(torch.float64), frac_bits, name)


EPSILON_BITS = 40
"""Fraction bits of the epsilons of power attention, which may be far below the grid's unit."""


def causal_powers(
    scores: torch.Tensor,
    start: int,
    power: int,
    epsilon: torch.Tensor | float,
    frac_bits: int,
    name: str,
    patterns: Patterns = (),
) -> torch.Tensor:
    """s^power over (its sum + epsilon L), L the number of keys a query may see; exactly zero on the others.

    Powers are taken of scores over their row's largest magnitude.

    Args:
        scores: ring elements [..., T, S], as for `causal_softmax`.
        epsilon: a number, or one a head in float64, [H, 1, 1].

    Returns:
        Weights [..., T, S] in [0, 1]. Float64's own error is below S * 2^-48.

    Raises:
        RangeError: more than 2^14 keys.
    """
    if scores.shape[-1] > 1 << (62 - SUM_BITS):
        raise RangeError(f"{name}: powers of {scores.shape[-1]} keys, at most {1 << (62 - SUM_BITS)}")
    visible = visible_keys(scores, start, patterns=patterns)
    seen = scores.masked_fill(~visible, 0)
    peak = seen.abs().amax(dim=-1, keepdim=True).clamp(min=1).to(torch.float64)
    squares = (seen.to(torch.float64) / peak) ** 2
    powers = squares
    for _ in range(power // 2 - 1):
        powers = powers * squares
    whole = encode(powers, SUM_BITS, name)
    real_peak = peak * 2.0**-frac_bits
    scale = real_peak * real_peak
    added = epsilon * _lengths(visible)
    for _ in range(power // 2):
        added = added / scale
    total = whole.sum(dim=-1, keepdim=True).to(torch.float64) * 2.0**-SUM_BITS + added
    return encode(whole.to(torch.float64) * 2.0**-SUM_BITS / total, frac_bits, name)


def causal_relu(
    scores: torch.Tensor, start: int, frac_bits: int, name: str, patterns: Patterns = ()
) -> torch.Tensor:
    """max(s, 0) over the number of keys a query may see; exactly zero on the others."""
    visible = visible_keys(scores, start, patterns=patterns)
    positive = scores.masked_fill(~visible, 0).clamp(min=0)
    return encode(decode(positive, frac_bits) / _lengths(visible), frac_bits, name)


def causal_exponentials(
    scores: torch.Tensor, start: int, frac_bits: int, name: str, patterns: Patterns = ()
) -> torch.Tensor:
    """exp(s) over the keys each query may see; exactly zero on the others. Raises RangeError for large s."""
    visible = visible_keys(scores, start, patterns=patterns).expand_as(scores)
    weights = torch.zeros_like(scores)
    weights[visible] = encode(
        _each(math.exp, decode(scores[visible], frac_bits).clamp(max=40.0)), frac_bits, name
    )
    return weights


def with_half_squares(
    q: torch.Tensor, k: torch.Tensor, frac_bits: int, name: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """[q, 1, -|q|^2 / 2] and [k, -|k|^2 / 2, 1] of ring elements; each square is exact, and cut once."""
    halves: list[torch.Tensor] = []
    for x in (q, k):
        squares = mul(x, x, 2 * frac_bits, name).sum(-1, keepdim=True)
        check_range(squares, 2 * frac_bits, name)
        halves.append(-truncate(squares, frac_bits + 1))
    ones = [torch.full_like(half, 1 << frac_bits) for half in halves]
    return torch.cat([q, ones[0], halves[0]], -1), torch.cat([k, halves[1], ones[1]], -1)


def capped_scores(scores: torch.Tensor, cap: float, frac_bits: int, name: str) -> torch.Tensor:
    """cap tanh(s / cap) of ring elements, rounded to nearest."""
    return encode(cap * _each(math.tanh, decode(scores, frac_bits) / cap), frac_bits, name)


def exp_of_minus(logarithm: torch.Tensor, frac_bits: int, name: str) -> torch.Tensor:
    """exp(-logarithm) of ring elements, rounded to nearest."""
    return encode(_each(math.exp, -decode(logarithm, frac_bits)), frac_bits, name)


def _lengths(visible: torch.Tensor) -> torch.Tensor:
    """Keys that each query sees, [T, 1] or [H, T, 1]."""
    return visible.sum(-1, keepdim=True).to(torch.float64)


def normalise(x: torch.Tensor, *, centre: bool, eps: float, frac_bits: int, name: str) -> torch.Tensor:
    """x / sqrt(mean(x^2) + eps) over the last axis, less its mean first where `centre`.

    The squares are taken relative to the row's largest magnitude, so neither a residual of 25,000 nor one of
    0.01 loses precision or wraps.

    Args:
        x: ring elements [..., D].
        centre: LayerNorm's centring; RMSNorm has none.
        eps: added to the mean square, in units of the encoded numbers.
        frac_bits: fraction bits of x and result.
        name: what an error calls this tensor.

    Returns:
        [..., D], at most sqrt(D) in magnitude. Float64's own error is below D * 2^-48 relative.

    Raises:
        RangeError: a centred row, held exactly as D * x - sum(x), would reach 2^62; or D is above 2^14.
    """
    width = x.shape[-1]
    if width > 1 << (62 - SUM_BITS):
        raise RangeError(f"{name}: a norm over {width} entries, at most {1 << (62 - SUM_BITS)}")
    unit = 2.0**-frac_bits
    if centre:
        largest = 2 * width * largest_magnitude(x)
        if largest >= LIMIT:
            raise RangeError(range_message(f"{name} (entries times 2 * {width})", largest, frac_bits))
        x = width * x - x.sum(dim=-1, keepdim=True)
        unit /= width
    peak = x.abs().amax(dim=-1, keepdim=True).clamp(min=1).to(torch.float64)
    ratio = x.to(torch.float64) / peak
    squares = encode(ratio * ratio, SUM_BITS, name).sum(dim=-1, keepdim=True)
    mean = squares.to(torch.float64) * (2.0**-SUM_BITS / width)
    real_peak = peak * unit
    return encode(ratio / torch.sqrt(mean + eps / (real_peak * real_peak)), frac_bits, name)


def activate(x: torch.Tensor, kind: ActivationKind, frac_bits: int, name: str) -> torch.Tensor:
    """An elementwise activation of ring elements; `relu` and `identity` are exact."""
    match kind:
        case "identity":
            return x
        case "relu":
            return x.clamp(min=0)
        case "gelu":
            function = _gelu
        case "gelu_tanh":
            function = _gelu_tanh
        case "silu":
            function = _silu
        case "tanh":
            function = math.tanh
        case "erf":
            function = math.erf
    return encode(_each(function, decode(x, frac_bits)), frac_bits, name)


def rope_table(rope: Rope, tokens: int, start: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [T, width/2] in float64 for positions start.."""
    rates = rope.rates()
    angles = [[position * rate for rate in rates] for position in range(start, start + tokens)]
    table = torch.tensor(angles, dtype=torch.float64)
    return _each(math.cos, table), _each(math.sin, table)


def _each(function: Callable[[float], float], x: torch.Tensor) -> torch.Tensor:
    """A scalar function of every entry, called one number at a time (the module says why)."""
    arguments = cast("list[float]", x.flatten().tolist())  # pyright: ignore[reportUnknownMemberType]
    values = np.fromiter(map(function, arguments), dtype=np.float64, count=len(arguments))
    return torch.from_numpy(values).reshape(x.shape)  # pyright: ignore[reportUnknownMemberType]


def _gelu(x: float) -> float:
    """x * Phi(x); erfc keeps the left tail's relative precision."""
    return 0.5 * x * math.erfc(-x * math.sqrt(0.5))


def _gelu_tanh(x: float) -> float:
    """GPT-2's form of GELU (Hendrycks and Gimpel 2016): x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))."""
    return x * _sigmoid(2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x))


def _silu(x: float) -> float:
    """x * sigmoid(x)."""
    return x * _sigmoid(x)


def _sigmoid(x: float) -> float:
    """1 / (1 + e^-x), by the exponential that cannot overflow."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    power = math.exp(x)
    return power / (1.0 + power)
