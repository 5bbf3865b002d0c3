"""A server-held weight, brought into a session once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from protocols.share import Share


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """One of the server's weights as both parties hold it.

    Attributes:
        name: the dealer and both parties know the weight's mask by this name.
        share: additive share of the weight.
        opened: weight minus its mask, public to both parties, where the plan opens weights once a session;
            None for vectors and where every use masks the weight afresh.
        mask: this party's share of that mask.
    """

    name: str
    share: Share
    opened: torch.Tensor | None = None
    mask: torch.Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.share.shape
