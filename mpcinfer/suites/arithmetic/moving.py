"""What moves elements of shares about and computes nothing."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence

import torch

from mpcinfer.backends.base import Backend
from mpcinfer.backends.tensors import heads_placed
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.weight import Weight
from protocols.share import Share


class MovingBackend(Backend[Share, Weight], ABC):
    """The operations of `SecureBackend` that send nothing and need nothing made.

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

    def split(self, x: Share, sizes: Sequence[int]) -> list[Share]:
        return [Share(part, x.frac_bits) for part in torch.split(x.value, list(sizes), dim=-1)]

    def split_heads(self, x: Share, heads: int) -> Share:
        return self.executor.rearrange(x, lambda v: v.reshape(*v.shape[:-1], heads, -1).transpose(-2, -3))

    def merge_heads(self, x: Share) -> Share:
        return self.executor.rearrange(x, lambda v: v.transpose(-2, -3).flatten(-2))

    def repeat_heads(self, x: Share, times: int) -> Share:
        if times == 1:
            return x
        return self.executor.rearrange(x, lambda v: v.repeat_interleave(times, dim=-3))

    def transpose(self, x: Share) -> Share:
        return self.executor.rearrange(x, lambda v: v.transpose(-1, -2))

    def concat_tokens(self, a: Share, b: Share) -> Share:
        return self.executor.concat([a, b], -2)

    def first_tokens(self, x: Share, count: int) -> Share:
        return x.first_rows(count)

    def last_tokens(self, x: Share, count: int) -> Share:
        return self.executor.rearrange(x, lambda v: v[..., -count:, :])
