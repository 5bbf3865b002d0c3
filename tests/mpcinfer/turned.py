"""What RoPE adds up, for bounds of errors."""

from __future__ import annotations

import torch

from mpcinfer.models.rope import Rope


def rope_partner(x: torch.Tensor, rope: Rope) -> torch.Tensor:
    """The other coordinate of each pair that is turned; zeros where nothing turns."""
    exchanged = rope.placed(torch.cat([rope.second(x), rope.first(x)], dim=-1))
    return torch.cat([exchanged, torch.zeros_like(rope.rest(x))], dim=-1)
