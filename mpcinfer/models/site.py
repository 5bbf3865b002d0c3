"""Where in a model an operation stands: what its ranges and rings belong to, whatever the bill calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

InnerNorm = Literal["attn.q_norm", "attn.k_norm", "attn.post", "ffn.post"]
"""Norms of a head's queries and keys, and of what attention and FFN add."""
Part = Literal["norm1", "attn", "norm2", "ffn", "norm", "pooler", "embedding"] | InnerNorm
INNER_NORMS: tuple[InnerNorm, ...] = ("attn.q_norm", "attn.k_norm", "attn.post", "ffn.post")


@dataclass(frozen=True, slots=True)
class Site:
    """A part of a block, or of what follows the last one.

    Attributes:
        layer: of the block, from 0; None before the first and after the last.
        part: `norm` is the final one, `embedding` the norm after the embedding.
    """

    layer: int | None
    part: Part

    @property
    def key(self) -> str:
        """What keys of its calibrated ranges begin with: `layer3.attn`, `head.norm`."""
        if self.part == "embedding":
            return "embed.norm"
        return f"head.{self.part}" if self.layer is None else f"layer{self.layer}.{self.part}"
