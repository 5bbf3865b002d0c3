"""RoPE on tensors: which coordinates are pairs, and by what they turn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from mpcinfer.models.rope import Rope


@dataclass(frozen=True, slots=True)
class Turning:
    """The coordinates of heads as RoPE pairs them."""

    rope: Rope

    def first(self, x: torch.Tensor) -> torch.Tensor:
        """The first coordinates of all pairs: [..., K] -> [..., width/2]."""
        width = self.rope.width
        return x[..., : width // 2] if self.rope.pairs == "halves" else x[..., 0:width:2]

    def second(self, x: torch.Tensor) -> torch.Tensor:
        """The second coordinates of all pairs: [..., K] -> [..., width/2]."""
        width = self.rope.width
        return x[..., width // 2 : width] if self.rope.pairs == "halves" else x[..., 1:width:2]

    def rest(self, x: torch.Tensor) -> torch.Tensor:
        """What does not turn: [..., K] -> [..., K - width]."""
        return x[..., self.rope.width :]

    def placed(self, x: torch.Tensor) -> torch.Tensor:
        """First and second coordinates, end to end, where a head has them: [..., width] -> [..., width]."""
        if self.rope.pairs == "halves":
            return x
        return x.reshape(*x.shape[:-1], 2, self.rope.width // 2).transpose(-1, -2).flatten(-2)


@lru_cache(maxsize=256)
def rope_angles(rope: Rope, tokens: int, start: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [T, width/2] in float64 for positions start.."""
    rates = rope.base ** (-torch.arange(0, rope.width, 2, dtype=torch.float64) / rope.width)
    if rope.divisors:
        rates = rates / torch.tensor(rope.divisors, dtype=torch.float64)
    angles = torch.arange(start, start + tokens, dtype=torch.float64)[:, None] * rates
    return torch.cos(angles), torch.sin(angles)
