"""What RoPE adds up, for bounds of errors."""

from __future__ import annotations

import torch

from mpcinfer.models.rope import Rope
from mpcinfer.models.turning import Turning


def rope_partner(x: torch.Tensor, rope: Rope) -> torch.Tensor:
    """The other coordinate of each pair that is turned; zeros where nothing turns."""
    turning = Turning(rope)
    exchanged = turning.placed(torch.cat([turning.second(x), turning.first(x)], dim=-1))
    return torch.cat([exchanged, torch.zeros_like(turning.rest(x))], dim=-1)
