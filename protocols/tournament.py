"""One level of a knock-out tree over rows of given lengths, packed end to end on the last axis.

Neighbours within a row meet; an odd entry waits. Which entry lies where is public. Tensors on the `meta`
device only change shape: no index is built for a bill.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch


@dataclass(frozen=True, slots=True)
class Level:
    """The level that rows of these lengths are on."""

    lengths: tuple[int, ...]

    @property
    def next_lengths(self) -> tuple[int, ...]:
        """How many entries of each row are left after it."""
        return tuple((length + 1) // 2 for length in self.lengths)

    def left(self, value: torch.Tensor) -> torch.Tensor:
        """The left one of every pair, [..., pairs]."""
        if value.is_meta:
            return value.new_empty((*value.shape[:-1], self._pairs))
        return value[..., _places(self.lengths)[0]]

    def right(self, value: torch.Tensor) -> torch.Tensor:
        """The right one of every pair, [..., pairs]."""
        if value.is_meta:
            return value.new_empty((*value.shape[:-1], self._pairs))
        return value[..., _places(self.lengths)[0] + 1]

    def waiting(self, value: torch.Tensor) -> torch.Tensor:
        """The entries without a partner, one in each row of odd length."""
        if value.is_meta:
            return value.new_empty((*value.shape[:-1], sum(length % 2 for length in self.lengths)))
        return value[..., _places(self.lengths)[1]]

    def join(self, value: torch.Tensor) -> torch.Tensor:
        """The next level's rows from its winners, one a pair, with the waiting entries behind them all."""
        return value if value.is_meta else value[..., _places(self.lengths)[2]]

    @property
    def _pairs(self) -> int:
        return sum(length // 2 for length in self.lengths)


@lru_cache(maxsize=256)
def _places(lengths: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Places of left partners, of entries that wait, and the order that restores the rows."""
    left: list[torch.Tensor] = []
    waiting: list[int] = []
    order: list[torch.Tensor] = []
    pairs = sum(length // 2 for length in lengths)
    offset = done = 0
    for length in lengths:
        half = length // 2
        left.append(torch.arange(offset, offset + 2 * half, 2))
        order.append(torch.arange(done, done + half))
        if length % 2:
            order.append(torch.tensor([pairs + len(waiting)]))
            waiting.append(offset + length - 1)
        offset, done = offset + length, done + half
    return torch.cat(left), torch.tensor(waiting, dtype=torch.int64), torch.cat(order)
