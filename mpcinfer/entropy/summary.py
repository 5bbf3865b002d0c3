"""Summary of the entropies of a model's heads: bins, overload, collapse, NaN."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mpcinfer.entropy.measure import HeadEntropies, causal_bound

OVERLOAD, COLLAPSE = 0.95, 0.05
"""Shares of the causal bound from which a head is overloaded, and up to which it is collapsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropySummary:
    """Head entropies in a few numbers. Shares are of all heads, those with NaN included.

    Attributes:
        heads: number of heads, all layers together.
        mean: nats, over heads that have an entropy; NaN where none has.
        largest: the largest entropy observed; NaN where there is none.
        bound: the largest possible, ln(T!) / T.
        quarters: shares of heads in the four quarters of [0, largest], the last closed: the papers' bins.
        overloaded: share of heads at 0.95 of the bound or above: entropic overload, as good as no selection.
        collapsed: share of heads at 0.05 of the bound or below: entropy collapse, one key a row.
        nan_heads: share of heads with a NaN in any row.
        nan_fraction: share of rows with NaN.
    """

    heads: int
    mean: float
    largest: float
    bound: float
    quarters: tuple[float, float, float, float]
    overloaded: float
    collapsed: float
    nan_heads: float
    nan_fraction: float

    def describe(self) -> list[str]:
        """Lines for people; overload, collapse and NaN by name where there are any."""
        low, below, above, high = (f"{share:.0%}" for share in self.quarters)
        lines = [
            f"mean entropy {self.mean:.3f} nats of at most {self.bound:.3f} (uniform causal attention)",
            f"heads by quarters of the largest observed, {self.largest:.3f}: {low}, {below}, {above}, {high}",
        ]
        if self.overloaded:
            lines.append(
                f"entropic overload: {self.overloaded:.0%} of {self.heads} heads are at {OVERLOAD:g} of the "
                "bound or above and hardly select"
            )
        if self.collapsed:
            lines.append(
                f"entropy collapse: {self.collapsed:.0%} of {self.heads} heads are at {COLLAPSE:g} of the "
                "bound or below and look at one token each"
            )
        if self.nan_heads:
            lines.append(
                f"NaN: {self.nan_heads:.0%} of {self.heads} heads have rows with NaN, "
                f"{self.nan_fraction:.1%} of all rows; they have no entropy, not one of zero"
            )
        return lines


def summarise(entropies: HeadEntropies) -> EntropySummary:
    """The summary of a model's heads."""
    values, bound = entropies.entropy.flatten(), causal_bound(entropies.tokens)
    known = values[values.isfinite()]
    largest = float(known.max()) if known.numel() else math.nan
    return EntropySummary(
        heads=values.numel(),
        mean=float(known.mean()) if known.numel() else math.nan,
        largest=largest,
        bound=bound,
        quarters=_quarters(values, largest),
        overloaded=_share(values >= OVERLOAD * bound),
        collapsed=_share(values <= COLLAPSE * bound),
        nan_heads=_share(entropies.nan_fraction > 0),
        nan_fraction=float(entropies.nan_fraction.double().mean()),
    )


def _quarters(values: torch.Tensor, largest: float) -> tuple[float, float, float, float]:
    """Shares in [0, 1/4), [1/4, 1/2), [1/2, 3/4), [3/4, 1] of the largest; where all are 0, in the first."""
    first, second, third = (values < part * largest for part in (0.25, 0.5, 0.75))
    if largest == 0:
        first = second = third = values == 0
    top = values.isfinite() & ~third
    return (_share(first), _share(second & ~first), _share(third & ~second), _share(top))


def _share(mask: torch.Tensor) -> float:
    return int(mask.sum()) / mask.numel()
