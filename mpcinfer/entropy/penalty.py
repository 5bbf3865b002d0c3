"""Entropy regularisation: a penalty on heads whose entropy is far from a threshold of their own.

Shape legend: B windows, L layers, H heads, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch

from mpcinfer.entropy.choices import Gate, Normalise, Reduction, Thresholds
from mpcinfer.entropy.measure import causal_bound, row_entropies
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyPenalty:
    """lambda times the mean over layers and heads of squared deviations beyond a tolerance.

    With E the largest entropy, a row deviates by d = H - theta E, and is tolerated up to gamma E.

    Attributes:
        strength: lambda, >= 0.
        reduction: `sum` adds up d^2 over windows and rows, as the published code does, so that lambda belongs
            to a batch size and a length; `mean` takes the mean: with `log_length` and `causal_mean` it is the
            sum over B T. `per_head` takes the mean of H over a window's rows before it is compared, as the
            published algorithm does: heads may then differ from row to row without penalty.
        normalise: what E is. `log_length` log T, as published; a causal head cannot reach it. `causal_mean`
            ln(T!) / T, the largest mean. `causal_row` log i of row i: the deviation is then a fraction,
            H_i / log i - theta, and the first row, which sees one key, is left out.
        gate: `hard` counts d^2 where |d| is beyond the tolerance, as published, and jumps there; `hinge`
            counts (|d| - gamma E)^2 and does not.
        thresholds: what theta, a number a head, is. `fixed` stays at `threshold`. `learned` is a parameter
            that the penalty trains, as published: it moves towards its head as the head towards it.
            `detached` follows the head's own mean entropy over E slowly, without gradients.
        threshold: theta to begin with, a fraction.
        momentum: of `detached` thresholds, in [0, 1): they keep this share at every step.
        tolerance: gamma, a fraction.

    Source: Entropy-Guided Attention (arXiv 2501.03489), algorithm 1 and appendix B.
    """

    strength: float = 1e-5
    reduction: Reduction = "sum"
    normalise: Normalise = "log_length"
    gate: Gate = "hard"
    thresholds: Thresholds = "learned"
    threshold: float = 0.5
    momentum: float = 0.99
    tolerance: float = 0.2

    def __post_init__(self) -> None:
        choices = {"reduction": Reduction, "normalise": Normalise, "gate": Gate, "thresholds": Thresholds}
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(f"{name} must be one of {get_args(kind)}, got {getattr(self, name)!r}")
        for name in ("strength", "tolerance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be finite and at least 0, got {getattr(self, name)}")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum must be in [0, 1), got {self.momentum}")

    def first_thresholds(self, layers: int, heads: int) -> torch.Tensor:
        """Thresholds [L, H] to begin with."""
        return torch.full((layers, heads), self.threshold)

    def term(self, weights: Sequence[torch.Tensor], thresholds: torch.Tensor, windows: int) -> EntropyTerm:
        """The penalty of a batch, or of a part of one.

        Args:
            weights: attention weights [b, H, T, T] of every layer, in order; T >= 2.
            thresholds: [L, H]; gradients reach them where they are `learned`.
            windows: B, windows in the whole batch. The penalty of the batch is the mean of its parts',
                weighted with b, for `sum` too.
        """
        theta = thresholds if self.thresholds == "learned" else thresholds.detach()
        penalties: list[torch.Tensor] = []
        fractions: list[torch.Tensor] = []
        with torch.autocast(thresholds.device.type, enabled=False):
            for layer, attention in enumerate(weights):
                entropy, largest = self._scaled(row_entropies(attention))
                if self.reduction == "per_head":
                    entropy = entropy.mean(-1, keepdim=True)
                penalties.append(self._gated(entropy - theta[layer, :, None] * largest, largest))
                fractions.append((entropy.detach() / largest).mean((0, 2)))
            rows = penalties[0].shape[-1]
            mean = torch.stack([penalty.mean() for penalty in penalties]).mean()
            size = windows * rows if self.reduction == "sum" else 1
            return EntropyTerm(self.strength * size * mean, torch.stack(fractions))

    def followed(self, thresholds: torch.Tensor, fractions: torch.Tensor) -> torch.Tensor:
        """`detached` thresholds after a step in which the heads' entropies over E were `fractions`."""
        return self.momentum * thresholds + (1 - self.momentum) * fractions

    def _scaled(self, entropy: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Row entropies [b, H, T] and E, or fractions of the rows' own bounds and 1."""
        tokens = entropy.shape[-1]
        if self.normalise == "causal_row":
            bounds = torch.arange(2, tokens + 1, device=entropy.device, dtype=entropy.dtype).log()
            return entropy[..., 1:] / bounds, 1.0
        return entropy, math.log(tokens) if self.normalise == "log_length" else causal_bound(tokens)

    def _gated(self, deviation: torch.Tensor, largest: float) -> torch.Tensor:
        margin = self.tolerance * largest
        if self.gate == "hinge":
            return torch.relu(deviation.abs() - margin).square()
        return torch.where(deviation.abs() <= margin, 0.0, deviation).square()  # a NaN stays one


@dataclass(frozen=True, slots=True)
class EntropyTerm:
    """A penalty, and what the heads' entropies were.

    Attributes:
        value: a scalar, strength included.
        fractions: [L, H] mean entropy over the largest, without gradient.
    """

    value: torch.Tensor
    fractions: torch.Tensor
