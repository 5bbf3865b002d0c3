"""Rotary positions (RoFormer, Su et al. 2021, 3.2.2): what turns, how fast. All of it is public."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch

RopePairs = Literal["halves", "adjacent"]


@dataclass(frozen=True, slots=True)
class Rope:
    """RoPE of one layer: pair i of a head turns by position * base^(-2i / width) / divisors[i].

    Attributes:
        base: of the frequencies.
        width: coordinates of a head that turn, the first ones; even. The others stay as they are.
        pairs: which of them turn together: ``halves`` (i, i + width/2), ``adjacent`` (2i, 2i + 1).
        divisors: of the width/2 frequencies; empty for ones.
    """

    base: float
    width: int
    pairs: RopePairs = "halves"
    divisors: tuple[float, ...] = ()

    def first(self, x: torch.Tensor) -> torch.Tensor:
        """The first coordinates of all pairs: [..., K] -> [..., width/2]."""
        return x[..., : self.width // 2] if self.pairs == "halves" else x[..., 0 : self.width : 2]

    def second(self, x: torch.Tensor) -> torch.Tensor:
        """The second coordinates of all pairs: [..., K] -> [..., width/2]."""
        return x[..., self.width // 2 : self.width] if self.pairs == "halves" else x[..., 1 : self.width : 2]

    def rest(self, x: torch.Tensor) -> torch.Tensor:
        """What does not turn: [..., K] -> [..., K - width]."""
        return x[..., self.width :]

    def placed(self, x: torch.Tensor) -> torch.Tensor:
        """First and second coordinates, end to end, where a head has them: [..., width] -> [..., width]."""
        if self.pairs == "halves":
            return x
        return x.reshape(*x.shape[:-1], 2, self.width // 2).transpose(-1, -2).flatten(-2)

    def rates(self) -> list[float]:
        """Radians a position of every pair."""
        divisors = self.divisors or (1.0,) * (self.width // 2)
        return [self.base ** (-2 * i / self.width) / divisor for i, divisor in enumerate(divisors)]


@lru_cache(maxsize=256)
def rope_angles(rope: Rope, tokens: int, start: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [T, width/2] in float64 for positions start.."""
    rates = rope.base ** (-torch.arange(0, rope.width, 2, dtype=torch.float64) / rope.width)
    if rope.divisors:
        rates = rates / torch.tensor(rope.divisors, dtype=torch.float64)
    angles = torch.arange(start, start + tokens, dtype=torch.float64)[:, None] * rates
    return torch.cos(angles), torch.sin(angles)
