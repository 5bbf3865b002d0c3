"""Linear algebra of torch whose own annotations leave types open, behind names that have some."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

_linalg: Any = torch.linalg
_func: Any = torch.func


def length(x: torch.Tensor) -> torch.Tensor:
    """Euclidean lengths of rows [..., M] -> [...]."""
    return _linalg.vector_norm(x, dim=-1)


def singular_values(matrix: torch.Tensor) -> torch.Tensor:
    """Largest first."""
    return _linalg.svdvals(matrix)


def left_vectors(matrix: torch.Tensor, count: int) -> torch.Tensor:
    """Of the `count` largest singular values of [N, M], [N, count]."""
    return _linalg.svd(matrix)[0][:, :count]


def solve(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """x of matrix x = right."""
    return _linalg.solve(matrix, right)


def least_squares(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """x that minimises |matrix x - right|."""
    return _linalg.lstsq(matrix, right).solution


def jacobian(function: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> torch.Tensor:
    """Slopes of a function from [M] to [N] in one point, [N, M]."""
    return _func.jacrev(function)(at)


def per_text(function: Callable[..., torch.Tensor], *batches: torch.Tensor, **same: Any) -> torch.Tensor:
    """The function of every row of the batches, with the other arguments the same for all."""
    return _func.vmap(functools.partial(function, **same))(*batches)


def random_ids(below: int, count: int, generator: torch.Generator) -> list[int]:
    """Numbers from 0 to below - 1."""
    return [int(each) for each in torch.randint(below, (count,), generator=generator)]


def gaussian(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """N(0, 1) in float64."""
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64)
