"""What moves elements of shares about and computes nothing."""

from __future__ import annotations

import dataclasses
from abc import ABC
from collections.abc import Sequence

import torch

from mpcinfer.backends.base import Backend
from mpcinfer.backends.tensors import heads_placed
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import CachedShare
from protocols.fss.preprocessing.matrix import Matrix
from protocols.share import Share


class MovingBackend(Backend[Share, Matrix], ABC):
    """The operations of `FssBackend` that send nothing and need nothing dealt.

    Args:
        executor: a party, the dealer, the reference, or a counter.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def split(self, x: Share, sizes: Sequence[int]) -> list[Share]:
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return [
            self.executor.map(x, lambda v, at=at, size=size: v[..., at : at + size])
            for at, size in zip(starts, sizes, strict=True)
        ]

    def split_heads(self, x: Share, heads: int) -> Share:
        return self.executor.map(x, lambda v: v.reshape(*v.shape[:-1], heads, -1).transpose(-2, -3))

    def merge_heads(self, x: Share) -> Share:
        return self.executor.map(x, lambda v: v.transpose(-2, -3).flatten(-2))

    def repeat_heads(self, x: Share, times: int) -> Share:
        if times == 1:
            return x

        def repeat(v: torch.Tensor) -> torch.Tensor:
            return v.repeat_interleave(times, dim=-3)

        return x.arranged(repeat) if isinstance(x, CachedShare) else self.executor.map(x, repeat)

    def take_heads(self, x: Share, numbers: Sequence[int]) -> Share:
        def take(v: torch.Tensor) -> torch.Tensor:
            return v[..., list(numbers), :, :]

        return x.arranged(take) if isinstance(x, CachedShare) else self.executor.map(x, take)

    def take_rows(self, weight: Matrix, numbers: Sequence[int]) -> Matrix:
        return dataclasses.replace(weight, value=weight.value[list(numbers)])

    def place_heads(self, x: Share, numbers: Sequence[int], heads: int) -> Share:
        return self.executor.map(x, lambda v: heads_placed(v, numbers, heads))

    def transpose(self, x: Share) -> Share:
        return self.executor.map(x, lambda v: v.transpose(-1, -2))

    def concat_tokens(self, a: Share, b: Share) -> Share:
        assert isinstance(a, CachedShare)
        assert isinstance(b, CachedShare)
        return a.appended(b)

    def first_tokens(self, x: Share, count: int) -> Share:
        return x.first_rows(count)

    def all_but_first_tokens(self, x: Share, count: int) -> Share:
        assert isinstance(x, CachedShare)
        return x.arranged(lambda v: v[..., count:, :].clone())

    def last_tokens(self, x: Share, count: int) -> Share:
        return self.executor.map(x, lambda v: v[..., -count:, :])
