"""Regrettable Delta-Bar-Delta: one learning rate that grows while gradients agree and takes errors back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from mpcinfer.training.optimizer_wrapper import Closure, OptimizerWrapper, dense, inner
from parties.errors import ConfigError

SMALLEST, LARGEST = 1e-4, 1e4


@dataclass(frozen=True, slots=True)
class Control:
    """Where a controller stands.

    Attributes:
        factor: what learning rates are multiplied by.
        before: the factor before the last adjustment.
        agreement: the last cosine of two gradients, in [-1, 1].
    """

    factor: float = 1.0
    before: float = 1.0
    agreement: float = 0.0

    def adjusted(self, agreement: float, kappa: float, *, regret: bool = True) -> Control:
        """The next stand, from the cosine h of this gradient and the one before.

        Where h and the last cosine have opposite signs the last adjustment is undone, exactly: the factor is
        the one before it. Then the factor is multiplied by 1 + kappa h, within [1e-4, 1e4].
        """
        base = self.before if regret and agreement * self.agreement < 0 else self.factor
        factor = min(max(base * (1 + kappa * agreement), SMALLEST), LARGEST)
        return Control(factor, base, agreement)


class RegrettableDeltaBarDelta(OptimizerWrapper):
    """Multiplies the learning rates of any optimizer by a factor that it finds while training.

    The factor begins at 1 and is adjusted before every step (`Control.adjusted`). Groups keep the rates that
    a schedule gave them; the step alone is taken at rate times factor. Any other wrapper goes inside.

    Cost: a copy of the gradients, kept from step to step.
    Source: "RDBD" of arXiv 2310.11291. A reconstruction: the paper's update and constants are not known to
    us. Of noisy gradients the cosine is near 0 and the factor moves slowly.
    Deviation from delta-bar-delta: one factor for all parameters, where that has one for each weight.
    """

    KEY = "regrettable_delta_bar_delta"

    def __init__(self, base: Optimizer, kappa: float = 0.05, *, regret: bool = True) -> None:
        """Wraps an optimizer.

        Args:
            kappa: largest relative change of the factor in a step, in (0, 1).
            regret: undo adjustments that were wrong; without it, delta-bar-delta of one rate.

        Raises:
            ConfigError: another kappa.
        """
        if not 0 < kappa < 1:
            raise ConfigError(f"kappa must be in (0, 1), got {kappa}")
        super().__init__(base)
        self.kappa, self.regret, self.control = kappa, regret, Control()
        self._previous: list[torch.Tensor | None] = []

    def _advance(self, closure: Closure | None) -> None:
        self.control = self.control.adjusted(self._agreement(), self.kappa, regret=self.regret)
        rates = [group["lr"] for group in self.param_groups]
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate * self.control.factor
        try:
            self.base.step(closure)  # pyright: ignore[reportUnknownMemberType]
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate

    def _agreement(self) -> float:
        """The cosine of the gradient and the one before, which the former replaces; 0 where one is zero."""
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        now = [None if p.grad is None else dense(p.grad).detach().clone() for p in parameters]
        previous = self._previous + [None] * (len(now) - len(self._previous))
        pairs = [(g, h) for g, h in zip(now, previous, strict=True) if g is not None and h is not None]
        product = sum((inner(g, h) for g, h in pairs), 0.0)
        size = _square(now) * _square(previous)
        self._previous = now
        return product / math.sqrt(size) if size > 0 and math.isfinite(size) else 0.0

    def told(self) -> dict[str, float]:
        """`rate_factor` of the last step, and the `agreement` that led to it."""
        return {
            **super().told(),
            "rate_factor": self.control.factor,
            "agreement": self.control.agreement,
        }

    def _own_state(self) -> dict[str, Any]:
        control = self.control
        stand = {"factor": control.factor, "before": control.before, "agreement": control.agreement}
        return {**stand, "previous": self._previous}

    def _load_own_state(self, state: dict[str, Any]) -> None:
        self.control = Control(state["factor"], state["before"], state["agreement"])
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        self._previous = [
            None if kept is None else kept.to(parameter.device, copy=True)
            for kept, parameter in zip(state["previous"], parameters, strict=False)
        ]


def _square(tensors: list[torch.Tensor | None]) -> float:
    return sum((inner(tensor, tensor) for tensor in tensors if tensor is not None), 0.0)
