"""Levenberg and Marquardt's method for small nonlinear least squares, with restarts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mpcinfer.audit.algebra import jacobian, solve

Residual = Callable[[torch.Tensor], torch.Tensor]
_STEPS, _DAMPING, _MOST_DAMPING = 300, 1e-2, 1e12


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Where a search ended.

    Attributes:
        x: the secret that was found, shaped as it began.
        loss: half of the residual's square there.
        restarts: beginnings that were tried.
    """

    x: torch.Tensor
    loss: float
    restarts: int


def levenberg_marquardt(
    residual: Residual, start: torch.Tensor, *, steps: int = _STEPS, until: float = 1e-26
) -> Fit:
    """Damped Gauss-Newton steps from one beginning, in float64.

    The damping falls tenfold after a step that lowers the loss and grows tenfold after one that does not; the
    search ends below `until`, after `steps`, or where no damping helps.

    Args:
        residual: differentiable.
        start: any shape.

    Source: Levenberg 1944, Marquardt 1963; in the form of Madsen, Nielsen and Tingleff 2004, section 3.2,
        with a factor of ten.
    """
    x, damping = start.detach().clone(), _DAMPING

    def flat(values: torch.Tensor) -> torch.Tensor:
        return residual(values.reshape(start.shape)).reshape(-1)

    error = flat(x.reshape(-1))
    loss = 0.5 * float(error @ error)
    for _ in range(steps):
        if loss < until:
            break
        slopes = jacobian(flat, x.reshape(-1))
        normal, gradient = slopes.T @ slopes, slopes.T @ error
        while damping < _MOST_DAMPING:
            scale = damping * normal.diagonal().clamp_min(1e-12)
            step = solve(normal + torch.diag(scale), gradient)
            tried = x - step.reshape(x.shape)
            moved = flat(tried.reshape(-1))
            after = 0.5 * float(moved @ moved)
            if after < loss:
                x, error, loss, damping = tried, moved, after, max(damping / 10.0, 1e-15)
                break
            damping *= 10.0
        else:
            break
    return Fit(x, loss, 1)


def restarted(
    residual: Residual, starts: Callable[[], torch.Tensor], *, restarts: int, until: float = 1e-20
) -> Fit:
    """The best of several beginnings; none more once one is below `until`.

    Args:
        starts: draws a beginning.
        restarts: the most beginnings, at least 1.
    """
    best: Fit | None = None
    for number in range(1, restarts + 1):
        fit = levenberg_marquardt(residual, starts())
        if best is None or fit.loss < best.loss:
            best = Fit(fit.x, fit.loss, number)
        if best.loss < until:
            break
    assert best is not None, "at least one beginning"
    return best
