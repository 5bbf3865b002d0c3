"""Products of masked values, views and bits."""

from __future__ import annotations

import math

import pytest
import torch

from parties.errors import RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.polynomial import Product, SumOfSquares
from protocols.share import Held, Share
from tests.protocols.fss.harness import Program, Secret, clear, run


def multiply(ring_bits: int, *drops: int | None) -> Program:
    """The product of inputs as they are (None), or of views of them with so many bits dropped."""

    def program(executor: Executor, *inputs: Share) -> Shares:
        reads = [x if drop is None else executor.view(x, drop) for x, drop in zip(inputs, drops, strict=True)]
        return executor.apply(Product(ring_bits), *reads)

    return program


def squares(ring_bits: int, drop: int = 0) -> Program:
    def program(executor: Executor, x: Share) -> Shares:
        return executor.apply(SumOfSquares(ring_bits), executor.view(x, drop))

    return program


def all_of(*ranges: range) -> list[torch.Tensor]:
    """Every combination of the numbers in ranges, a column each."""
    return list(torch.cartesian_prod(*(torch.tensor(list(r)) for r in ranges)).T)


def seen(x: torch.Tensor, mask: torch.Tensor, drop: int) -> torch.Tensor:
    """What readers of a view see of x under a known mask."""
    return (x + mask % (1 << drop)) >> drop


def test_two_values_under_all_masks() -> None:
    x, y, r, s = all_of(range(-4, 4), range(-3, 3), range(32), range(0, 64, 3))
    done = run(multiply(5, None, None), [Secret(x, 1, 5, mask=r), Secret(y, 2, 6, mask=s)])
    done.check_bill()
    assert done.server[0].frac_bits == 3
    assert torch.equal(done.secret(), x * y)
    assert torch.equal(done.clear[0].value, x * y)


@pytest.mark.parametrize("drop", [0, 1, 3, 8])
@pytest.mark.parametrize("ring_bits", [10, 40, 64])
def test_a_view_under_all_masks(drop: int, ring_bits: int) -> None:
    """One view alone: truncation and extension, rounded as the mask says."""
    x, r = all_of(range(-256, 256), range(1024))
    done = run(multiply(ring_bits, drop), [Secret(x, 4, 10, mask=r)])
    done.check_bill()
    assert done.server[0].frac_bits == 4 - drop
    assert torch.equal(done.secret(), seen(x, r, drop))
    assert torch.equal(done.clear[0].value, x >> drop)


def test_a_view_into_a_narrower_ring() -> None:
    x, r = all_of(range(-4, 4), range(1024))
    done = run(multiply(3, 0), [Secret(x, 0, 10, mask=r)])
    assert torch.equal(done.secret(), x)


@pytest.mark.parametrize("ring_bits", [62, 63, 64])
def test_views_of_wide_rings(ring_bits: int) -> None:
    limit = 1 << (ring_bits - 2)
    x = torch.tensor([-limit, -limit + 1, -1, 0, 1, limit - 1]).repeat(50)
    for drop in (0, 7, ring_bits - 2):
        done = run(multiply(64, drop), [Secret(x, 0, ring_bits)], seed=drop)
        assert int((done.secret() - (x >> drop)).min()) >= 0
        assert int((done.secret() - (x >> drop)).max()) <= (1 if drop else 0)


def test_a_view_rounds_without_bias() -> None:
    """Over all masks x comes out as x / 2^f on average, exactly."""
    x, r = all_of(range(-16, 16), range(1024))
    done = run(multiply(20, 4), [Secret(x, 0, 10, mask=r)])
    means = done.secret().double().reshape(32, 1024).mean(1)
    assert torch.equal(means, torch.arange(-16, 16).double() / 16.0)


def test_a_view_needs_its_bit_of_slack() -> None:
    for x in (-257, 256):
        with pytest.raises(RangeError, match="does not fit"):
            clear(multiply(40, 0), [Secret(torch.tensor([x]), 0, 10)])


def test_two_views_under_all_masks() -> None:
    x, y, r, s = all_of(range(-8, 8), range(-4, 4), range(64), range(32))
    inputs = [Secret(x * 2, 1, 6 + 1, mask=2 * r), Secret(y, 2, 5, mask=s)]
    done = run(multiply(30, 1, 0), inputs)
    done.check_bill()
    assert torch.equal(done.secret(), x * y)


@pytest.mark.parametrize("drop", [None, 0])
def test_a_bit_selects(drop: int | None) -> None:
    bit, m, x, r = all_of(range(2), range(2), range(-64, 64), range(256))
    done = run(multiply(8, None, drop), [Secret(bit, 0, 1, mask=m), Secret(x, 3, 8, mask=r)])
    done.check_bill()
    assert torch.equal(done.secret(), bit * x)
    assert torch.equal(done.clear[0].value, bit * x)


def test_a_bit_that_was_summed_without_reduction() -> None:
    bit = Secret(torch.tensor([0, 0, 1, 1]), 0, 1, mask=torch.tensor([2, 5, 4, 7]))
    assert run(multiply(8, None), [bit]).secret().tolist() == [0, 0, 1, 1]


def test_three_factors_of_different_shapes() -> None:
    x = torch.arange(-12, 12).reshape(2, 3, 4)
    y = torch.tensor([[5], [-7], [11]])
    z = torch.tensor(3)
    inputs = [Secret(x, 0, 30), Secret(y, 0, 30), Secret(z, 0, 8)]
    done = run(multiply(30, None, None, 0), inputs)
    done.check_bill()
    assert torch.equal(done.secret(), x * y * z)


@pytest.mark.parametrize(
    ("drops", "bits"),
    [
        ([None], 32),
        ([0], 32 + 12),
        ([None, None], 3 * 32),
        ([None, 2], 3 * 32 + 2 * 14),
        ([0, 0], 3 * 32 + 4 * 12),
        ([0, 6], 3 * 32 + 2 * 12 + 2 * 18),
        ([6, 6], 3 * 32 + 4 * 18 + 4),
    ],
)
def test_what_products_take(drops: list[int | None], bits: int) -> None:
    """A wrap lacks the bits of its view; of two there may be nothing left."""
    x = torch.zeros(8, dtype=torch.int64)
    done = run(multiply(32, *drops), [Secret(x, 0, 40 if drop is None else 20) for drop in drops])
    assert done.frames == []
    assert (done.counted.offline_bytes_to_server, done.counted.offline_bytes_to_client) == (bits, 0)


def test_only_masked_values_are_multiplied_and_none_from_a_narrower_ring() -> None:
    x = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(AssertionError, match="not masked"):
        run(multiply(20, None), [Secret(x, 0, 20, Held.SERVER_MASKED)])
    with pytest.raises(AssertionError, match="into 21 bits"):
        run(multiply(21, None), [Secret(x, 0, 20)])


def test_the_reference_refuses_products_that_wrap() -> None:
    x = torch.tensor([1 << 40])
    with pytest.raises(RangeError):
        clear(multiply(64, None, None), [Secret(x), Secret(x)])
    with pytest.raises(RangeError):
        clear(multiply(20, None, None), [Secret(x >> 20), Secret(x >> 40)])


@pytest.mark.parametrize("drop", [0, 2])
def test_sums_of_squares_under_all_masks(drop: int) -> None:
    x, r = all_of(range(-32, 32), range(128))
    x, r = x.reshape(-1, 4, 16), r.reshape(-1, 4, 16)
    done = run(squares(30, drop), [Secret(x, 3, 7, mask=r)])
    done.check_bill()
    assert done.server[0].frac_bits == 2 * (3 - drop)
    assert torch.equal(done.secret(), seen(x, r, drop).square().sum(-1, keepdim=True))
    assert torch.equal(done.clear[0].value, (x >> drop).square().sum(-1, keepdim=True))


def test_what_sums_of_squares_take() -> None:
    done = run(squares(40), [Secret(torch.zeros(4, 8, dtype=torch.int64), 0, 20)])
    assert done.frames == []
    assert done.counted.offline_bytes_to_server == 4 * (40 + 20 + 19) + 5 * 4
    assert done.counted.offline_bytes_to_client == 0


def test_the_reference_refuses_squares_that_do_not_fit() -> None:
    x = torch.full((1, 4), 100)
    with pytest.raises(RangeError):
        clear(squares(16), [Secret(x, 0, 9)])
    assert math.isclose(float(clear(squares(17), [Secret(x, 0, 9)])[0].value), 40_000)
