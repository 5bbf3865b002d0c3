"""Products of pairs of masked numbers with masked matrices, and sums of them."""

from __future__ import annotations

import pytest
import torch

from parties.errors import RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.pairs import ReadPairs, SumOfPairs, pairs_of
from protocols.fss.gates.polynomial import Product
from protocols.share import Share
from tests.protocols.fss.harness import Secret, clear, run

RINGS = [29, 53, 64]
SHAPES = [(1, 1, 1), (3, 4, 5), (2, 7, 1)]
"""Rows, their width, columns."""


def numbers(*shape: int, limit: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-limit, limit, shape, generator=generator)


def read(executor: Executor, x: Share, s: Share) -> Shares:
    return executor.apply(ReadPairs(), x, s, executor.one(Product(s.ring_bits), s))


def summed(executor: Executor, x: Share, v: Share) -> Shares:
    return executor.apply(SumOfPairs(), x, v, executor.one(Product(v.ring_bits), v))


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize(("rows", "width", "columns"), SHAPES)
def test_pairs_of_rows_times_a_matrix(rows: int, width: int, columns: int, ring: int) -> None:
    x, s = numbers(2, rows, width), numbers(2, width * (width + 1) // 2, columns)
    done = run(read, [Secret(x, 3, ring), Secret(s, 5, ring)])
    expected = torch.zeros(2, rows, columns, dtype=torch.int64)
    for place, (a, b) in enumerate(torch.triu_indices(width, width).T.tolist()):
        expected += x[..., a, None] * x[..., b, None] * s[..., None, place, :]
    assert torch.equal(done.secret(), expected)
    assert torch.equal(done.clear[0].value, expected)
    assert (done.server[0].frac_bits, done.server[0].ring_bits) == (11, ring)
    assert not done.frames
    done.check_bill()


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize(("rows", "width", "columns"), SHAPES)
def test_sums_of_pairs_give_squares_of_scores(rows: int, width: int, columns: int, ring: int) -> None:
    """Their products with pairs of a query are (q k)^2 v, summed."""
    x, v, q = numbers(2, rows, width), numbers(2, rows, columns), numbers(2, 1, width)
    done = run(summed, [Secret(x, 3, ring), Secret(v, 4, ring)])
    squares = (q @ x.transpose(-1, -2)) ** 2
    assert torch.equal(pairs_of(q) @ done.secret(), squares @ v)
    assert torch.equal(done.clear[0].value, done.secret())
    assert (done.server[0].frac_bits, done.server[0].ring_bits) == (10, ring)
    assert not done.frames
    done.check_bill()


def test_results_beyond_the_ring_are_named() -> None:
    large = Secret(torch.full((1, 2, 3), 1 << 20), 0, 64)
    with pytest.raises(RangeError, match="does not fit"):
        clear(read, [large, Secret(torch.full((1, 6, 2), 1 << 30), 0, 64)])
    with pytest.raises(RangeError, match="does not fit"):
        clear(summed, [large, Secret(torch.full((1, 2, 2), 1 << 30), 0, 64)])
