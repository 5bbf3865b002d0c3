"""Rows of attention packed end to end: hidden keys are left out instead of masked.

Query i of T stands at position start + i and sees start + i + 1 keys, or the last of them, or all S where
rows are not causal. Packed, the rows of a [T, S] matrix lie one after the other in a vector of N visible
entries. Which entry lies where is public. Tensors on the `meta` device only change shape: no index is built
for a bill.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.share import Share


@dataclass(frozen=True, slots=True)
class CausalRows:
    """The packing of scores [..., T, S], S = start + T.

    Attributes:
        tokens: T, queries.
        start: keys that were there before the first query.
        window: a query sees at most this many keys, its own the last; 0 for all up to its own.
        causal: a query sees the keys up to its own; otherwise all S.
    """

    tokens: int
    start: int
    window: int = 0
    causal: bool = True

    @property
    def keys(self) -> int:
        """S, the longest row."""
        return self.start + self.tokens

    @property
    def each(self) -> tuple[int, ...]:
        """The shape of a number a row: T."""
        return (self.tokens,)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Visible keys of every row."""
        if not self.causal:
            return (self.keys,) * self.tokens
        most = self.window or self.keys
        return tuple(min(length, most) for length in range(self.start + 1, self.keys + 1))

    @property
    def visible(self) -> int:
        """N, entries of all rows together."""
        return sum(self.lengths)

    def pack(self, executor: Arithmetic, x: Share) -> Share:
        """[..., T, S] -> [..., N]."""

        def change(value: torch.Tensor) -> torch.Tensor:
            if value.is_meta:
                return value.new_empty((*value.shape[:-2], self.visible))
            flat = value.flatten(-2)
            return flat[..., _places(self)] if self.causal else flat

        return executor.rearrange(x, change)

    def unpack(self, executor: Arithmetic, x: Share) -> Share:
        """[..., N] -> [..., T, S] with exact zeros on hidden keys."""

        def change(value: torch.Tensor) -> torch.Tensor:
            if not self.causal:
                return value.reshape(*value.shape[:-1], self.tokens, self.keys)
            flat = value.new_zeros((*value.shape[:-1], self.tokens * self.keys))
            if not value.is_meta:
                flat[..., _places(self)] = value
            return flat.reshape(*value.shape[:-1], self.tokens, self.keys)

        return executor.rearrange(x, change)

    def spread(self, executor: Arithmetic, rows: Share) -> Share:
        """One number a row, [..., T], repeated for each of its visible keys: [..., N]."""

        def change(value: torch.Tensor) -> torch.Tensor:
            if value.is_meta:
                return value.new_empty((*value.shape[:-1], self.visible))
            if not self.causal:
                return value.repeat_interleave(self.keys, -1)
            return value[..., _rows(self)]

        return executor.rearrange(rows, change)

    def hide(self, executor: Arithmetic, x: Share) -> Share:
        """[..., T, S] with exact zeros written over hidden keys."""

        def change(value: torch.Tensor) -> torch.Tensor:
            return value if value.is_meta or not self.causal else value * _visible(self)

        return executor.rearrange(x, change)


@lru_cache(maxsize=64)
def _visible(rows: CausalRows) -> torch.Tensor:
    """Which entries of [T, S] can be seen."""
    up_to = torch.ones(rows.tokens, rows.keys, dtype=torch.bool).tril(rows.start)
    return up_to.triu(rows.start - rows.window + 1) if rows.window else up_to


@lru_cache(maxsize=64)
def _places(rows: CausalRows) -> torch.Tensor:
    """Where the visible entries lie in the flattened [T, S] matrix, row by row."""
    return _visible(rows).flatten().nonzero().squeeze(1)


@lru_cache(maxsize=64)
def _rows(rows: CausalRows) -> torch.Tensor:
    """The row of every visible entry."""
    return torch.arange(rows.tokens).repeat_interleave(torch.tensor(rows.lengths))
