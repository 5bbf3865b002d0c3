"""Heads of shares, taken out and put back: nothing is sent."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence

from mpcinfer.backends.base import Backend
from mpcinfer.backends.tensors import heads_placed
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.weight import Weight
from protocols.share import Share


class HeadsBackend(Backend[Share, Weight], ABC):
    """What a backend on shares needs for heads that are dropped.

    Args:
        executor: its primitives.
    """

    def __init__(self, executor: Arithmetic) -> None:
        self.executor = executor

    def take_heads(self, x: Share, numbers: Sequence[int]) -> Share:
        return self.executor.take_heads(x, numbers)

    def take_rows(self, weight: Weight, numbers: Sequence[int]) -> Weight:
        return Weight(weight.name, self.executor.rearrange(weight.share, lambda v: v[list(numbers)]))

    def place_heads(self, x: Share, numbers: Sequence[int], heads: int) -> Share:
        return self.executor.rearrange(x, lambda v: heads_placed(v, numbers, heads))
