"""Head entropies over the steps of a training run, from its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mpcinfer.entropy.measure import HeadEntropies
from mpcinfer.entropy.summary import EntropySummary, summarise


@dataclass(frozen=True, slots=True)
class EntropyAtStep:
    """The heads' entropies after some steps of training."""

    step: int
    entropies: HeadEntropies

    @property
    def summary(self) -> EntropySummary:
        """In a few numbers."""
        return summarise(self.entropies)

    def layer_means(self) -> list[float]:
        """Mean entropy of each layer's heads, nats, over heads that have one; NaN where none has."""
        return [float(layer.nanmean()) for layer in self.entropies.entropy]

    def layer_nans(self) -> list[float]:
        """Share of rows with NaN in each layer."""
        return [float(layer.mean()) for layer in self.entropies.nan_fraction]


def entropy_curve(log: Sequence[Mapping[str, Any]]) -> list[EntropyAtStep]:
    """What a log (lines of `mpcinfer.training.log`) says of entropies, by step; it may be nothing."""
    return [
        EntropyAtStep(
            line["step"],
            HeadEntropies(
                torch.tensor(line["entropies"], dtype=torch.float64),
                torch.tensor(line["nan_fractions"], dtype=torch.float64),
                line["tokens"],
            ),
        )
        for line in log
        if "entropies" in line
    ]
