"""Rows of attention packed end to end, of heads that see different keys.

The sibling of `CausalRows` where every head has a pattern: rows of all heads lie one after the other in one
vector [B, N], since heads have different numbers of visible entries. Which entry lies where is public.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.causal_rows import CausalRows
from protocols.key_masks import pattern_mask
from protocols.key_pattern import KeyPattern, all_lengths
from protocols.share import Share


@dataclass(frozen=True, slots=True)
class PatternRows:
    """The packing of scores [B, H, T, S], S = start + T.

    Attributes:
        patterns: a head's each; none of them drops it.
        tokens: T, queries.
        start: keys that were there before the first query.
    """

    patterns: tuple[KeyPattern, ...]
    tokens: int
    start: int

    @property
    def keys(self) -> int:
        """S."""
        return self.start + self.tokens

    @property
    def each(self) -> tuple[int, ...]:
        """The shape of a number a row: H, T."""
        return (len(self.patterns), self.tokens)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Visible keys of every row, head after head."""
        return all_lengths(self.patterns, self.start, self.tokens)

    @property
    def visible(self) -> int:
        """N, entries of all rows of all heads together."""
        return sum(self.lengths)

    def pack(self, executor: Arithmetic, x: Share) -> Share:
        """[B, H, T, S] -> [B, N]."""

        def change(value: torch.Tensor) -> torch.Tensor:
            if value.is_meta:
                return value.new_empty((*value.shape[:-3], self.visible))
            return value.flatten(-3)[..., _places(self)]

        return executor.rearrange(x, change)

    def unpack(self, executor: Arithmetic, x: Share) -> Share:
        """[B, N] -> [B, H, T, S] with exact zeros on hidden keys."""

        def change(value: torch.Tensor) -> torch.Tensor:
            heads = len(self.patterns)
            flat = value.new_zeros((*value.shape[:-1], heads * self.tokens * self.keys))
            if not value.is_meta:
                flat[..., _places(self)] = value
            return flat.reshape(*value.shape[:-1], heads, self.tokens, self.keys)

        return executor.rearrange(x, change)

    def spread(self, executor: Arithmetic, rows: Share) -> Share:
        """One number a row, [B, H, T] or [B, H T], repeated for each of its visible keys: [B, N]."""

        def change(value: torch.Tensor) -> torch.Tensor:
            if value.is_meta:
                return value.new_empty((value.shape[0], self.visible))
            return value.reshape(value.shape[0], -1)[..., _rows(self)]

        return executor.rearrange(rows, change)

    def hide(self, executor: Arithmetic, x: Share) -> Share:
        """[B, H, T, S] with exact zeros written over hidden keys."""

        def change(value: torch.Tensor) -> torch.Tensor:
            return value if value.is_meta else value * pattern_mask(self.patterns, self.start, self.tokens)

        return executor.rearrange(x, change)


Rows = CausalRows | PatternRows


def rows_of(
    scores: Share,
    start: int,
    window: int = 0,
    *,
    causal: bool = True,
    patterns: tuple[KeyPattern, ...] = (),
) -> Rows:
    """The packing of scores [B, H, T, S] whose queries see what these say."""
    if patterns:
        return PatternRows(patterns, scores.shape[-2], start)
    return CausalRows(scores.shape[-2], start, window, causal)


@lru_cache(maxsize=64)
def _places(rows: PatternRows) -> torch.Tensor:
    """Where the visible entries lie in the flattened [H, T, S], row by row."""
    return pattern_mask(rows.patterns, rows.start, rows.tokens).flatten().nonzero().squeeze(1)


@lru_cache(maxsize=64)
def _rows(rows: PatternRows) -> torch.Tensor:
    """The row of every visible entry."""
    lengths = torch.tensor(rows.lengths)
    return torch.arange(len(lengths)).repeat_interleave(lengths)
