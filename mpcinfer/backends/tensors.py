"""What is the same for every backend whose activations are torch tensors: moving elements about."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence

import torch

from mpcinfer.backends.base import Backend


def heads_placed(x: torch.Tensor, numbers: Sequence[int], heads: int) -> torch.Tensor:
    """As `Backend.place_heads`."""
    every = x.new_zeros((*x.shape[:-3], heads, *x.shape[-2:]))
    return every.index_copy(-3, torch.tensor(list(numbers), device=x.device), x)


class TensorBackend(Backend[torch.Tensor, torch.Tensor], ABC):
    """The operations of a backend that compute nothing, on tensors of any number type."""

    def split(self, x: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
        return list(torch.split(x, list(sizes), dim=-1))

    def split_heads(self, x: torch.Tensor, heads: int) -> torch.Tensor:
        return x.reshape(*x.shape[:-1], heads, -1).transpose(-2, -3)

    def merge_heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(-2, -3).flatten(-2)

    def repeat_heads(self, x: torch.Tensor, times: int) -> torch.Tensor:
        return x if times == 1 else x.repeat_interleave(times, dim=-3)

    def take_heads(self, x: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
        return x[..., list(numbers), :, :]

    def take_rows(self, weight: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
        return weight[list(numbers)]

    def place_heads(self, x: torch.Tensor, numbers: Sequence[int], heads: int) -> torch.Tensor:
        return heads_placed(x, numbers, heads)

    def transpose(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(-1, -2)

    def concat_tokens(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.cat([a, b], dim=-2)

    def first_tokens(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return x[..., :count, :]

    def all_but_first_tokens(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return x[..., count:, :].clone()

    def last_tokens(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return x[..., -count:, :]
