"""Power 2 over a state in fixed point: exact sums, one division a number, rounded to nearest."""

from __future__ import annotations

import torch
from torch.nn import functional

from mpcinfer.backends.attention_weights import visible_keys
from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import AttentionForm
from protocols import fixed_point


def fixed_squares_with_state(
    q: torch.Tensor,
    scores: torch.Tensor,
    v: torch.Tensor,
    start: int,
    form: AttentionForm,
    state: AttentionState[torch.Tensor],
    epsilon: torch.Tensor | float,
    frac_bits: int,
    name: str,
    *,
    shifted: bool,
) -> torch.Tensor:
    """As `squares_with_state`, on ring elements; every product is truncated once.

    Args:
        epsilon: a number, or one a head in float64, [H, 1, 1].
        shifted: features are of [q, 1].

    Raises:
        RangeError: a sum reaches 2^62.
    """
    visible = visible_keys(scores, start, form.window, causal=form.causal)
    weights = _times(scores, scores, frac_bits, name).masked_fill(~visible, 0)
    rows = functional.pad(q, (0, 1), value=1 << frac_bits) if shifted else q
    read = _product(fixed_pairs(rows, frac_bits, name), state.sums, frac_bits, name)
    added = read[..., -1:] if state.beside is None else read[..., -1:] + state.beside
    mixed = fixed_point.add(_product(weights, v, frac_bits, name), read[..., :-1], frac_bits, name)
    lengths = (visible.sum(-1, keepdim=True) + state.keys).double()
    sums = (weights.sum(-1, keepdim=True) + added).double() * 2.0**-frac_bits + epsilon * lengths
    return fixed_point.encode(mixed.double() * 2.0**-frac_bits / sums, frac_bits, name)


def fixed_state(
    state: AttentionState[torch.Tensor] | None,
    k: torch.Tensor,
    v: torch.Tensor,
    column: torch.Tensor | None,
    frac_bits: int,
    name: str,
) -> AttentionState[torch.Tensor]:
    """A state with keys and values in it, as ring elements.

    Args:
        column: what keys have behind them, [.., 1, 1], where scores have an offset or a shift.

    Raises:
        RangeError: a sum reaches 2^62.
    """
    if column is not None:
        k = torch.cat([k, column.expand(*k.shape[:-1], 1)], -1)
    first, second = torch.triu_indices(k.shape[-1], k.shape[-1])
    pairs = fixed_pairs(k, frac_bits, name) * torch.where(first == second, 1, 2)
    ones = functional.pad(v, (0, 1), value=1 << frac_bits)
    sums = _product(pairs.transpose(-1, -2), ones, frac_bits, name)
    if state is None:
        return AttentionState("pairs", sums, keys=k.shape[-2])
    sums = fixed_point.add(state.sums, sums, frac_bits, name)
    return AttentionState("pairs", sums, state.beside, state.keys + k.shape[-2])


def fixed_pairs(x: torch.Tensor, frac_bits: int, name: str) -> torch.Tensor:
    """x_a x_b, a <= b."""
    first, second = torch.triu_indices(x.shape[-1], x.shape[-1])
    return _times(x[..., first], x[..., second], frac_bits, name)


def _times(a: torch.Tensor, b: torch.Tensor, frac_bits: int, name: str) -> torch.Tensor:
    return fixed_point.truncate(fixed_point.mul(a, b, 2 * frac_bits, name), frac_bits)


def _product(a: torch.Tensor, b: torch.Tensor, frac_bits: int, name: str) -> torch.Tensor:
    return fixed_point.truncate(fixed_point.matmul(a, b, 2 * frac_bits, name), frac_bits)
