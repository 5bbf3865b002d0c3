"""Ring products against Python integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parties.randomness import InsecureTestRandom
from protocols.kernels.ring_products import ring_bmm, ring_matmul, ring_matmul_transposed

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
@pytest.mark.parametrize("m", [1, 2, 3, 12, 17, 41])
@pytest.mark.parametrize(("k", "n"), [(1, 1), (7, 5), (8, 4), (9, 33), (26, 19)])
def test_products_of_full_range(kind: torch.dtype, m: int, k: int, n: int) -> None:
    x, weight = ring(m, m, k), weights(k, kind, k, n)
    expected = slow_product(x, weight)
    for bits in (20, 39, 48, 52, 64):
        for product in (
            ring_matmul(x, weight, bits),
            ring_matmul_transposed(x, weight.T.contiguous(), bits),
            ring_matmul(x, weight.T.contiguous().T, bits),
        ):
            assert torch.equal(product << (64 - bits), expected << (64 - bits))
    assert torch.equal(ring_matmul(x, weight), expected)


@pytest.mark.parametrize("m", [1, 3, 45])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("left", "right"), [((4,), (4,)), ((2, 3), (2, 3)), ((2, 3), (1, 3)), ((3,), ()), ((0,), (0,))]
)
def test_batches(m: int, transposed: bool, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    x, y = ring(1, *left, m, 18), ring(2, *right, 18, 35)
    if transposed:
        y = y.transpose(-1, -2).contiguous().transpose(-1, -2)
    whole = [factor.expand(*left, *factor.shape[-2:]).reshape(-1, *factor.shape[-2:]) for factor in (x, y)]
    expected = [slow_product(a, b) for a, b in zip(*whole, strict=True)]
    for bits in (20, 48, 64):
        product = ring_bmm(x, y, bits)
        assert (product.shape, product.dtype) == ((*left, m, 35), torch.int64)
        for got, true in zip(product.reshape(-1, m, 35), expected, strict=True):
            assert torch.equal(got << (64 - bits), true << (64 - bits))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("bits", [48, 64])
@pytest.mark.parametrize("m", [2, 24])
def test_batches_in_threads(threads: int, bits: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x, y = ring(1, 40, m, 8), ring(2, 40, 8, 19)
    assert torch.equal(ring_bmm(x, y, bits) << (64 - bits), torch.matmul(x, y) << (64 - bits))


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


@pytest.mark.parametrize("multiply", [ring_matmul, ring_matmul_transposed, ring_bmm])
def test_other_types_and_shapes_are_refused(multiply: object) -> None:
    assert callable(multiply)
    x, weight = ring(11, 3, 4), weights(12, torch.int16, 4, 4)
    with pytest.raises(AssertionError, match="int64 ring elements"):
        multiply(x.double(), weight)
    with pytest.raises(AssertionError, match="weights"):
        multiply(x, weight.double())
    with pytest.raises(AssertionError, match="rows of 4"):
        multiply(ring(13, 3, 5), weight)
