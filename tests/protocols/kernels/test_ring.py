"""Ring products against Python integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parties.randomness import InsecureTestRandom
from protocols.kernels.ring import ring_matmul, ring_matmul_transposed

TYPES = (torch.int16, torch.int32, torch.int64)


def ring(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(InsecureTestRandom(seed).uint64(shape).view(np.int64))


def weights(seed: int, kind: torch.dtype, *shape: int) -> torch.Tensor:
    """Weights over the whole range of their type, its least value among them."""
    drawn = ring(seed, *shape).to(kind)
    drawn.view(-1)[:1] = torch.iinfo(kind).min
    return drawn


def slow_product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x [m, k] times weight [k, n] in Python's integers, reduced at the end."""
    columns = weight.T.tolist()
    sums = [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in x.tolist()
    ]
    reduced = [[(total + (1 << 63)) % (1 << 64) - (1 << 63) for total in row] for row in sums]
    return torch.tensor(reduced, dtype=torch.int64).reshape(len(x), weight.shape[1])


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("m", [1, 2, 3, 12, 17])
@pytest.mark.parametrize(("k", "n"), [(1, 1), (7, 5), (8, 4), (9, 33), (26, 19)])
def test_products_of_full_range(kind: torch.dtype, m: int, k: int, n: int) -> None:
    x, weight = ring(m, m, k), weights(k, kind, k, n)
    expected = slow_product(x, weight)
    assert torch.equal(ring_matmul(x, weight), expected)
    assert torch.equal(ring_matmul_transposed(x, weight.T.contiguous()), expected)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("m", [1, 13])
def test_more_columns_than_are_worked_on_at_once(kind: torch.dtype, m: int) -> None:
    x, weight = ring(1, m, 10), weights(2, kind, 10, 8195)
    product = ring_matmul(x, weight)
    for first in (0, 4090, 8185):
        part = slice(first, first + 10)
        assert torch.equal(product[:, part], slow_product(x, weight[:, part]))
    assert torch.equal(ring_matmul_transposed(x, weight.T.contiguous()), product)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", [(6,), (2, 3, 6), (0, 6), (2, 0, 6)])
def test_leading_dimensions(kind: torch.dtype, shape: tuple[int, ...]) -> None:
    x, weight = ring(3, *shape), weights(4, kind, 6, 5)
    product = ring_matmul(x, weight)
    assert (product.shape, product.dtype) == ((*shape[:-1], 5), torch.int64)
    assert torch.equal(product.reshape(-1, 5), slow_product(x.reshape(-1, 6), weight))
    assert torch.equal(ring_matmul_transposed(x, weight.T), product)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("m", "k", "n"), [(2, 0, 3), (2, 3, 0), (20, 0, 3), (20, 3, 0)])
def test_empty_matrices(kind: torch.dtype, m: int, k: int, n: int) -> None:
    x, weight = ring(5, m, k), weights(6, kind, k, n)
    assert torch.equal(ring_matmul(x, weight), torch.zeros(m, n, dtype=torch.int64))
    assert torch.equal(ring_matmul_transposed(x, weight.T), torch.zeros(m, n, dtype=torch.int64))


@pytest.mark.parametrize("kind", TYPES)
def test_views_that_are_not_contiguous(kind: torch.dtype) -> None:
    x, weight = ring(7, 8, 6).T, weights(8, kind, 9, 16)[:8, ::2]
    assert torch.equal(ring_matmul(x, weight), slow_product(x, weight))
    assert torch.equal(ring_matmul_transposed(x, weight.T), slow_product(x, weight))


def test_arguments_are_left_as_they_are() -> None:
    x, weight = ring(9, 3, 8), weights(10, torch.int16, 8, 4)
    before = x.clone(), weight.clone()
    ring_matmul(x, weight)
    ring_matmul_transposed(x, weight.T.contiguous())
    assert torch.equal(x, before[0])
    assert torch.equal(weight, before[1])


@pytest.mark.parametrize("multiply", [ring_matmul, ring_matmul_transposed])
def test_other_types_and_shapes_are_refused(multiply: object) -> None:
    assert callable(multiply)
    x, weight = ring(11, 3, 4), weights(12, torch.int16, 4, 4)
    with pytest.raises(AssertionError, match="int64 ring elements"):
        multiply(x.double(), weight)
    with pytest.raises(AssertionError, match="weights"):
        multiply(x, weight.double())
    with pytest.raises(AssertionError, match="rows of 4"):
        multiply(ring(13, 3, 5), weight)
