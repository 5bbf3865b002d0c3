"""Entropy of attention heads: how widely a head spreads its weights over what it may see.

Shape legend: B windows, L layers, H heads, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

LOG_EPSILON = 1e-9
"""Added to a weight inside the logarithm, so that 0 log 0 is 0; float16 would round it to 0."""


def row_entropies(weights: torch.Tensor) -> torch.Tensor:
    """Entropies, in nats, of rows of attention weights [..., T, S] -> [..., T]: -sum a log(a + 1e-9).

    Computed in float32 at least, whatever autocast says, and differentiable. A row with a NaN has a NaN
    entropy. Rows that do not sum to one (power attention's by a little, ReLU attention's by a lot) are taken
    as they are.
    """
    with torch.autocast(weights.device.type, enabled=False):
        wide = weights.to(torch.promote_types(weights.dtype, torch.float32))
        return -(wide * torch.log(wide + LOG_EPSILON)).sum(-1)


def causal_bound(tokens: int) -> float:
    """The largest entropy of a causal head over T >= 1 tokens, in nats: ln(T!) / T.

    Row i (from 1) sees i keys and reaches at most log i; the mean over rows is below log T.
    """
    return math.lgamma(tokens + 1) / tokens


@dataclass(frozen=True, slots=True)
class HeadEntropies:
    """Entropies of a model's heads over some text.

    Attributes:
        entropy: [L, H] nats, mean over windows and rows; rows with NaN are left out, and a head without any
            other row has NaN.
        nan_fraction: [L, H] share of rows with NaN. It says apart what a sum that skips NaN would show as an
            entropy of zero.
        tokens: T of the windows.
    """

    entropy: torch.Tensor
    nan_fraction: torch.Tensor
    tokens: int


class EntropyMeter:
    """Adds up head entropies over batches; every window has the same number of tokens."""

    def __init__(self) -> None:
        self._sum: torch.Tensor | None = None
        self._finite: torch.Tensor | None = None
        self._rows = 0
        self._tokens = 0

    @torch.no_grad()
    def add(self, weights: Sequence[torch.Tensor]) -> None:
        """Counts a batch: attention weights [B, H, T, T] of every layer, in order."""
        entropies = torch.stack(
            [row_entropies(layer).detach().double().cpu() for layer in weights]
        )  # [L,B,H,T]
        finite = entropies.isfinite()
        total = entropies.masked_fill(~finite, 0.0).sum((1, 3))
        count = finite.sum((1, 3))
        self._sum = total if self._sum is None else self._sum + total
        self._finite = count if self._finite is None else self._finite + count
        self._rows += entropies.shape[1] * entropies.shape[3]
        self._tokens = entropies.shape[3]

    def result(self) -> HeadEntropies:
        """The entropies so far; after at least one batch."""
        assert self._sum is not None
        assert self._finite is not None
        entropy = torch.where(self._finite > 0, self._sum / self._finite, torch.nan)
        return HeadEntropies(entropy, 1 - self._finite / self._rows, self._tokens)


def head_entropies(batches: Iterable[Sequence[torch.Tensor]]) -> HeadEntropies:
    """Head entropies over batches of attention weights, each a list of [B, H, T, T] by layer."""
    meter = EntropyMeter()
    for weights in batches:
        meter.add(weights)
    return meter.result()
