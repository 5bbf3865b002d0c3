"""Reject Accelerating: a step that is accelerated against the gradient is replaced by a plain one."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from mpcinfer.training.delta_bar_delta import RegrettableDeltaBarDelta
from mpcinfer.training.optimizer_wrapper import Closure, OptimizerWrapper, dense, inner
from parties.errors import ConfigError


class RejectAccelerating(OptimizerWrapper):
    """Drops what an optimizer adds to the gradient wherever that points against the gradient.

    The wrapped optimizer moves a parameter tensor by -lr u. With g the gradient and a = u - g, the move is
    kept where <a, g> >= 0 and replaced by -lr g where <a, g> < 0, tensor by tensor. Momentum that has turned
    against the gradient is dropped for a step; the optimizer's state stays. For optimizers whose u has
    another scale than g (Adam), -lr g is as good as no step; with decoupled weight decay such a step
    does not decay.

    Cost: two copies of the parameters during a step.
    Source: "RA" of arXiv 2402.01515. A reconstruction: the condition is inferred from the paper's bound, in
    which it removes the steps that count against convergence.

    Attributes:
        rejected: tensors' moves replaced so far.
        moves: tensors' moves so far.
    """

    KEY = "reject_accelerating"

    def __init__(self, base: Optimizer) -> None:
        """Wraps an optimizer. Raises ConfigError for a controller of learning rates, which goes outside."""
        if isinstance(base, RegrettableDeltaBarDelta):
            raise ConfigError(
                "RejectAccelerating needs the rate of the step: wrap it by RegrettableDeltaBarDelta, not the "
                "other way round"
            )
        super().__init__(base)
        self.rejected, self.moves, self._last = 0, 0, 0.0

    def _advance(self, closure: Closure | None) -> None:
        before = [
            (group, parameter, parameter.detach().clone(), _gradient(parameter))
            for group, parameter in self.gradients()
        ]
        self.base.step(closure)  # pyright: ignore[reportUnknownMemberType]
        rejected = 0
        for group, parameter, start, gradient in before:
            downhill = -1.0 if group.get("maximize", False) else 1.0
            plain = start.add(gradient, alpha=-downhill * float(group["lr"]))
            acceleration = dense(plain - parameter)
            if downhill * inner(acceleration, dense(gradient)) < 0:
                parameter.copy_(plain)
                rejected += 1
        self.rejected, self.moves = self.rejected + rejected, self.moves + len(before)
        self._last = rejected / len(before) if before else 0.0

    def told(self) -> dict[str, float]:
        """`rejected_moves`: the fraction of the tensors whose move the last step replaced."""
        return {**super().told(), "rejected_moves": self._last}

    def _own_state(self) -> dict[str, Any]:
        return {"rejected": self.rejected, "moves": self.moves}

    def _load_own_state(self, state: dict[str, Any]) -> None:
        self.rejected, self.moves = int(state["rejected"]), int(state["moves"])


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    gradient = parameter.grad
    assert gradient is not None
    return (gradient.to_dense() if gradient.is_sparse else gradient).detach().clone()
