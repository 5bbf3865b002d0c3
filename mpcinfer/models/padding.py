"""What the client makes of how much padding each sequence of a batch has at its start."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def positions_of(padding: Sequence[int], start: int, count: int) -> list[int]:
    """Where `count` tokens of each sequence stand behind its padding, sequence after sequence, from the
    `start`-th token of all on; padding itself at 0, as the first token."""
    return [max(at - before, 0) for before in padding for at in range(start, start + count)]


def is_padding(padding: Sequence[int], count: int) -> torch.Tensor:
    """Which of the first `count` tokens of each sequence are padding, bool [B, T]."""
    return torch.arange(count) < torch.tensor(list(padding))[:, None]


def lengths_of(padding: Sequence[int], count: int) -> torch.Tensor:
    """How many of `count` tokens of each sequence are no padding, [B, 1]."""
    return count - torch.tensor(list(padding))[:, None]
