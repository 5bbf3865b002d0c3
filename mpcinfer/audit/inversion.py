"""Gradient inversion (DLG): rows of a text whose gradients equal the ones that were shared.

Both searches minimise |G(X) - g|^2 / |g|^2 with known labels. L-BFGS is the classic of Zhu et al. (DLG, arXiv
1906.08935); Levenberg and Marquardt's method sees curvature and finds what L-BFGS misses on small texts. The
attack on transformers of arXiv 2311.13624 is known here by its abstract alone: this is a reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mpcinfer.audit.algebra import gaussian, length
from mpcinfer.audit.gradients import Classifier
from mpcinfer.audit.least_squares import restarted

EXACT = 1e-12
"""A text is found exactly below this mean square error of its rows, which are of order 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverted:
    """What a search found.

    Attributes:
        misfit: |G(X) - g|^2 / |g|^2.
        row_error: mean square of what is wrong with X, in the best order of rows.
        restarts: beginnings that were tried.
    """

    misfit: float
    row_error: float
    restarts: int

    @property
    def exact(self) -> bool:
        """Whether it is the text."""
        return self.row_error < EXACT


def invert_by_lm(
    model: Classifier,
    x: torch.Tensor,
    labels: torch.Tensor,
    shared: torch.Tensor,
    *,
    restarts: int,
    seed: int,
) -> Inverted:
    """Levenberg and Marquardt's method from rows N(0, 1).

    Args:
        x: the text [N, D], which is compared with what is found and not used before.
        shared: its gradients as one vector, noise included.
    """
    generator, norm = torch.Generator().manual_seed(seed), length(shared)

    def residual(rows: torch.Tensor) -> torch.Tensor:
        return (model.flat_gradients(rows, labels) - shared) / norm

    def start() -> torch.Tensor:
        return gaussian(x.shape, generator)

    fit = restarted(residual, start, restarts=restarts)
    error = row_error(fit.x, x)
    return Inverted(misfit=2.0 * fit.loss, row_error=error, restarts=fit.restarts)


def invert_by_lbfgs(
    model: Classifier,
    x: torch.Tensor,
    labels: torch.Tensor,
    shared: torch.Tensor,
    *,
    restarts: int,
    seed: int,
) -> Inverted:
    """The same by torch's L-BFGS, 300 steps from each beginning; arguments as for `invert_by_lm`."""
    generator = torch.Generator().manual_seed(seed)
    best, found = float("inf"), x
    for _ in range(restarts):
        rows = gaussian(x.shape, generator).requires_grad_()
        search = torch.optim.LBFGS([rows], max_iter=300, history_size=50, line_search_fn="strong_wolfe")

        def misfit(rows: torch.Tensor = rows) -> torch.Tensor:
            return (model.flat_gradients(rows, labels) - shared).square().sum() / shared.square().sum()

        def closure(search: torch.optim.LBFGS = search) -> torch.Tensor:
            search.zero_grad()
            value = misfit()
            torch.autograd.backward(value)
            return value

        search.step(closure)  # pyright: ignore[reportUnknownMemberType]
        value = float(misfit().detach())
        if value < best:
            best, found = value, rows.detach().clone()
    return Inverted(misfit=best, row_error=row_error(found, x), restarts=restarts)


def row_error(found: torch.Tensor, x: torch.Tensor) -> float:
    """Mean square error of rows [N, D], each of X with the nearest that was found.

    Without positions, rows with the same label can change places and leave all gradients as they are.
    """
    return float(torch.cdist(x, found).square().amin(-1).mean()) / x.shape[-1]
