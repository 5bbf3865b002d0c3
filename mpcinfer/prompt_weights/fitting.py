"""Weights of examples fitted to validation examples: RICL, LARICL, and one step of reweighting.

All three are *reconstructions*. RICL and LARICL are from arXiv 2310.03331, of which the abstract and reviews
were read: its formulas, step sizes and penalties are not known, nor how it weighs prompts that are no soft
prompts. One step is learning to reweight (arXiv 1803.09050), written from memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mpcinfer.prompt_weights.settings import RATE, RIDGE, STEP, STEPS
from parties.errors import ConfigError

_linalg: Any = torch.linalg

Predictions = Callable[[torch.Tensor], torch.Tensor]
"""Weightings [W, m] in float64 -> probabilities of labels for validation examples, [W, N, C]."""


OnStep = Callable[[int, int, float], None]
"""Is told of gradient descent: steps done, of how many, and the validation loss before the last."""


def laricl(
    predict: Predictions, right: torch.Tensor, examples: int, *, step: float = STEP, ridge: float = RIDGE
) -> torch.Tensor:
    """1 + dw, no less than 0; dw = argmin |r - J dw|^2 / N + ridge |dw|^2, in closed form.

    J has what probabilities change by for a unit of each weight, by finite differences at w = 1 downwards; r
    is what they lack: 1 for the right label and 0 for others, less what is predicted.

    Args:
        predict: a black box, asked once for m + 1 weightings.
        right: the right label of every validation example, int64 [N].
        examples: m.
        step: in (0, 1].
        ridge: above 0: how much weights are held back to 1.

    Returns:
        [m] in float64.

    Raises:
        ConfigError: `step` or `ridge` out of range, or all weights would be 0.

    Cost: m + 1 predictions of each validation example.
    """
    if not 0 < step <= 1 or ridge <= 0:
        raise ConfigError(f"LARICL: step is in (0, 1] and ridge above 0, got {step} and {ridge}")
    ones = torch.ones(1, examples, dtype=torch.float64)
    lowered = ones - step * torch.eye(examples, dtype=torch.float64)
    found = predict(torch.cat([ones, lowered]))
    jacobian = ((found[:1] - found[1:]) / step).flatten(1).T
    target = torch.nn.functional.one_hot(right, found.shape[-1]).double()
    return linear_step(jacobian, (target - found[0]).flatten(), len(right), ridge)


def linear_step(jacobian: torch.Tensor, lacking: torch.Tensor, count: int, ridge: float) -> torch.Tensor:
    """1 + dw as above, of J [N C, m] and r [N C]. Raises ConfigError where all weights would be 0."""
    normal = jacobian.T @ jacobian / count + ridge * torch.eye(jacobian.shape[-1], dtype=torch.float64)
    change: torch.Tensor = _linalg.solve(normal, jacobian.T @ lacking / count)
    return _some((1 + change).clamp_min(0.0), "LARICL")


def ricl(
    predict: Predictions,
    right: torch.Tensor,
    examples: int,
    *,
    rate: float = RATE,
    steps: int = STEPS,
    on_step: OnStep | None = None,
) -> torch.Tensor:
    """Gradient descent on the validation loss over w, from w = 1, w no less than 0 after every step; of all
    steps the weights with the least loss.

    Args:
        predict: differentiable.
        rate: above 0; steps: 1 or more.

    Raises:
        ConfigError: arguments out of range, or all weights became 0.

    Cost: `steps` + 1 predictions, and gradients of `steps`.
    """
    if rate <= 0 or steps < 1:
        raise ConfigError(f"RICL: rate is above 0 and steps at least 1, got {rate} and {steps}")
    weights = torch.ones(examples, dtype=torch.float64)
    best, least = weights, float("inf")
    for done in range(1, steps + 1):
        loss, slope = loss_and_gradient(predict, right, weights)
        if loss < least:
            best, least = weights, loss
        if on_step is not None:
            on_step(done, steps, loss)
        weights = _some((weights - rate * slope).clamp_min(0.0), "RICL")
    with torch.no_grad():
        last = float(validation_loss(predict(weights[None])[0], right))
    return weights if last < least else best


def one_step(predict: Predictions, right: torch.Tensor, examples: int) -> torch.Tensor:
    """w proportional to max(-dL/dw, 0) at w = 1, of mean 1: what one step of gradient descent from no weights
    at all would give.

    Raises:
        ConfigError: a larger weight of no example lowers the loss.
    """
    _, slope = loss_and_gradient(predict, right, torch.ones(examples, dtype=torch.float64))
    found = _some((-slope).clamp_min(0.0), "one step")
    return found * examples / found.sum()


def validation_loss(probabilities: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Mean of -log p of the right labels, in nats: [..., N, C] and [N] -> [...]."""
    chosen = probabilities.gather(-1, right.expand(probabilities.shape[:-1])[..., None])
    return -torch.log(chosen.clamp_min(_LEAST)).mean((-2, -1))


def loss_and_gradient(
    predict: Predictions, right: torch.Tensor, weights: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """The validation loss at weights [m], and what it changes by for a unit of each."""
    at = weights.detach().clone().requires_grad_()
    loss = validation_loss(predict(at[None])[0], right)
    (slope,) = torch.autograd.grad(loss, at)
    return float(loss.detach()), slope


_LEAST = 1e-12


def _some(weights: torch.Tensor, method: str) -> torch.Tensor:
    """Raises ConfigError where all are 0."""
    if not bool((weights > 0).any()):
        raise ConfigError(f"{method}: all weights would be 0: no example helps on the validation examples")
    return weights
