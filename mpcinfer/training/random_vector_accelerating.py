"""Random-Vector Accelerating: gradients lengthened along a random direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from mpcinfer.training.optimizer_wrapper import Closure, OptimizerWrapper, dense, inner


def accelerated(gradients: Sequence[torch.Tensor], vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """g = grad + 2 |<v, grad>| / |v|^2 v.

    With c the squared cosine of v and grad: where <v, grad> >= 0, |g|^2 = (1 + 8 c) |grad|^2 and
    <grad, g> = (1 + 2 c) |grad|^2. Where it is negative, g is the reflection of grad at the plane across v:
    |g| = |grad| and <grad, g> = (1 - 2 c) |grad|^2.

    Args:
        gradients: the parts of grad, one a parameter tensor.
        vectors: the parts of v, of the same shapes; not all zero.

    Source: the framework of arXiv 2402.01515.
    """
    factor = 2 * abs(_product(gradients, vectors)) / _product(vectors, vectors)
    return [gradient + factor * vector for gradient, vector in zip(gradients, vectors, strict=True)]


def _product(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    return sum((inner(dense(a), dense(b)) for a, b in zip(left, right, strict=True)), 0.0)


def bound_ratio(c: float) -> float:
    """What the theorem's bound is with every step accelerated, over that of plain stochastic gradients.

    sqrt(1 + 8 c) / (1 + 2 c), c in [0, 1] the squared cosine of v and the gradient: at least 1, equal to 1
    at 0 and 1 alone, and largest, sqrt(4 / 3), at 1 / 4. So the theorem promises no gain.
    """
    return math.sqrt(1 + 8 * c) / (1 + 2 * c)


class RandomVectorAccelerating(OptimizerWrapper):
    """Hands an optimizer gradients that are lengthened along a random vector.

    Every step draws v ~ N(0, I) for all parameters together, turns it so that <v, grad> >= 0, and gives
    the wrapped optimizer `accelerated` gradients. Parameters keep their own gradients after the step. Of d
    parameters, c is about 1 / d: for a model the change is next to nothing, and where it is not it acts
    as a longer step. No gain is known (`bound_ratio`), and none was measured (docs/methods/optimizers.md).

    Cost: two copies of the gradients during a step.
    Source: "RVA" of arXiv 2402.01515, with v of all parameters and not of each tensor.
    """

    KEY = "random_vector_accelerating"

    def __init__(self, base: Optimizer, seed: int = 0) -> None:
        """Wraps an optimizer; the seed decides all vectors."""
        super().__init__(base)
        self._generator = torch.Generator().manual_seed(seed)

    def _advance(self, closure: Closure | None) -> None:
        kept = self._accelerate()
        first = True

        def again() -> Any:
            nonlocal kept, first
            assert closure is not None
            loss = closure()
            if not first:  # the gradients of the first call are there, and accelerated
                kept = self._accelerate()
            first = False
            return loss

        self.base.step(None if closure is None else again)  # pyright: ignore[reportUnknownMemberType]
        for parameter, gradient in kept:
            parameter.grad = gradient

    def _accelerate(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Puts accelerated gradients in place; returns parameters and what was there."""
        kept = [
            (parameter, parameter.grad) for _, parameter in self.gradients() if parameter.grad is not None
        ]
        if not kept:
            return kept
        gradients = [gradient.to_dense() if gradient.is_sparse else gradient for _, gradient in kept]
        vectors = [self._vector(gradient) for gradient in gradients]
        if _product(gradients, vectors) < 0:
            vectors = [-vector for vector in vectors]
        for (parameter, _), gradient in zip(kept, accelerated(gradients, vectors), strict=True):
            parameter.grad = gradient
        return kept

    def _vector(self, gradient: torch.Tensor) -> torch.Tensor:
        drawn = torch.randn(gradient.shape, generator=self._generator, dtype=torch.float32)
        return drawn.to(gradient.device, gradient.dtype)

    def _own_state(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def _load_own_state(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"].cpu())
