"""A penalty on scores, variances and pre-activations beyond what fixed point and polynomials can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RangePenalty:
    """lambda times the sum over layers of the mean over heads of relu(max |s| - S)^2; likewise for the
    others.

    Attributes:
        strength: lambda, >= 0.
        scores: S, the largest magnitude of a score that costs nothing; None leaves scores alone. A row of
            power attention divides by the mean of its scores' powers, which S bounds by S^p.
        variance: R, the largest variance before a norm that costs nothing (RMS norms: mean square): lambda
            times the sum over norms of relu(max - R)^2. None leaves variances alone.
        activations: A, the largest magnitude before an activation that costs nothing: lambda times the sum
            over FFNs of relu(max - A)^2. A polynomial in place of the activation holds on an interval that
            this decides. None leaves them alone.

    Source: range training of Power-Softmax (arXiv 2410.09457), as a squared hinge.
    Deviation: the largest is taken over each window and the mean over windows, so that a batch may be
        computed in parts.
    """

    strength: float = 0.3
    scores: float | None = None
    variance: float | None = None
    activations: float | None = None

    def __post_init__(self) -> None:
        for name in ("strength", "scores", "variance", "activations"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ConfigError(f"{name} must be finite and at least 0, got {value}")
        if self.scores is None and self.variance is None and self.activations is None:
            raise ConfigError("a range penalty needs a bound: for scores, variances or activations")

    def value(
        self,
        score_peaks: Sequence[torch.Tensor],
        variances: Sequence[torch.Tensor],
        pre_activations: Sequence[torch.Tensor] = (),
    ) -> torch.Tensor:
        """The penalty, a scalar with its strength.

        Args:
            score_peaks: largest score magnitudes [B, H], a layer each.
            variances: largest variances [B], a norm each; there may be none.
            pre_activations: largest magnitudes [B], an FFN each; there may be none.
        """
        total = score_peaks[0].new_zeros(())
        if self.scores is not None:
            total = total + sum_of_excess(score_peaks, self.scores)
        if self.variance is not None and variances:
            total = total + sum_of_excess(variances, self.variance)
        if self.activations is not None and pre_activations:
            total = total + sum_of_excess(pre_activations, self.activations)
        return self.strength * total


def sum_of_excess(values: Sequence[torch.Tensor], bound: float) -> torch.Tensor:
    """Sum over tensors of the mean over their entries of relu(value - bound)^2."""
    return torch.stack([torch.relu(value - bound).square().mean() for value in values]).sum()
