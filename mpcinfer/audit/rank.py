"""How many directions of a secret a revealed tensor leaves open: the rank of its Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mpcinfer.audit.algebra import jacobian, singular_values

Reveal = Callable[[torch.Tensor], torch.Tensor]
"""What is revealed of a secret."""
_RELATIVE = 1e-11
"""Singular values in float64 below this part of the largest count as 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """The Jacobian of what is revealed, at one secret.

    Attributes:
        unknowns: numbers in the secret.
        rank: directions in which the secret cannot move without the tensor's moving, to first order.
        condition: largest singular value over the least that counts.
    """

    unknowns: int
    rank: int
    condition: float

    @property
    def deficit(self) -> int:
        """Directions that the tensor says nothing of. 0 means identifiable nearby, not easy to find."""
        return self.unknowns - self.rank


def jacobian_rank(reveal: Reveal, secret: torch.Tensor) -> RankReport:
    """The rank at one secret; of a generic one it is that of almost all.

    Args:
        reveal: differentiable in float64. Where it is piecewise constant its rank is 0, which says that its
            steps, not its slopes, are what gives the secret away: enumeration is the attack then.
        secret: float64, any shape.
    """

    def flat(x: torch.Tensor) -> torch.Tensor:
        return reveal(x.reshape(secret.shape)).reshape(-1)

    values = singular_values(jacobian(flat, secret.reshape(-1)))
    largest = float(values.max()) if values.numel() else 0.0
    kept = values[values > _RELATIVE * largest] if largest > 0 else values[:0]
    condition = largest / float(kept.min()) if kept.numel() else float("inf")
    return RankReport(unknowns=secret.numel(), rank=kept.numel(), condition=condition)
