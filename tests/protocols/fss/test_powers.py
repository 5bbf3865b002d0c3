"""Squares and even powers of masked values."""

from __future__ import annotations

import pytest
import torch

from parties.errors import ConfigError, RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.square import Square
from protocols.fss.operations.powers import PowerFormats, even_power, power_error
from protocols.share import Held, Share
from tests.protocols.fss.harness import Program, Secret, clear, run
from tests.protocols.fss.test_polynomial import all_of, seen

FORMATS = {
    power: PowerFormats(power=power, integer_bits=2, square_frac=6, factor_frac=5, ring_bits=40)
    for power in (2, 4, 6, 8)
}
powers = pytest.mark.parametrize("power", FORMATS)


def square(ring_bits: int, drop: int = 0) -> Program:
    def program(executor: Executor, x: Share) -> Shares:
        return executor.apply(Square(ring_bits), executor.view(x, drop))

    return program


def power_of(formats: PowerFormats) -> Program:
    return lambda executor, x: (even_power(executor, formats, x),)


@pytest.mark.parametrize("drop", [0, 2])
@pytest.mark.parametrize("ring_bits", [14, 40, 64])
def test_squares_under_all_masks(drop: int, ring_bits: int) -> None:
    x, r = all_of(range(-32, 32), range(128))
    done = run(square(ring_bits, drop), [Secret(x, 3, 7, mask=r)])
    done.check_bill()
    assert done.server[0].frac_bits == 2 * (3 - drop)
    assert torch.equal(done.secret(), seen(x, r, drop).square())
    assert torch.equal(done.clear[0].value, (x >> drop).square())


def test_what_squares_take() -> None:
    done = run(square(24), [Secret(torch.zeros(8, dtype=torch.int64), 0, 20)])
    assert done.frames == []
    assert (done.counted.offline_bytes_to_server, done.counted.offline_bytes_to_client) == (2 * 24 + 4 + 3, 0)


def test_only_views_of_masked_values_are_squared() -> None:
    x = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(AssertionError, match="no view"):
        run(lambda executor, x: executor.apply(Square(20), x), [Secret(x, 0, 20)])
    additive = Share(x, 0, 20, Held.ADDITIVE, 0)
    with pytest.raises(AssertionError, match="not masked"):
        run(lambda executor, x: executor.apply(Square(20), additive), [Secret(x, 0, 20)])


def test_the_reference_refuses_squares_that_do_not_fit() -> None:
    x = torch.tensor([100])
    with pytest.raises(RangeError):
        clear(square(14), [Secret(x, 0, 9)])
    assert int(clear(square(15), [Secret(x, 0, 9)])[0].value) == 10_000


@powers
@pytest.mark.parametrize("exact_truncation", [False, True])
def test_powers_are_within_the_stated_error(power: int, exact_truncation: bool) -> None:
    """Over the whole range, which is nearly 2^2, read with six fraction bits of ten."""
    formats, x = FORMATS[power], torch.arange(-4000, 4001)
    done = run(power_of(formats), [Secret(x, 10, 14)], exact_truncation=exact_truncation)
    done.check_bill()
    real = x.double() / 2.0**10
    assert done.server[0].frac_bits == formats.frac_bits
    off = (done.secret().double() / 2.0**formats.frac_bits - real**power).abs()
    for low, high in ((0.0, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0)):
        inside = (real.abs() >= low) & (real.abs() <= high)
        assert float(off[inside].max()) <= power_error(formats, high)
    openings = {2: 0, 4: 1, 6: 2, 8: 2}[power]
    exact = 2 * (openings + 1) if exact_truncation else 0  # a carry and an opening for whatever is read
    assert done.counted.rounds == openings + exact


@powers
def test_stated_errors_are_not_much_too_large(power: int) -> None:
    formats, x = FORMATS[power], torch.arange(-4000, 4001)
    off = run(power_of(formats), [Secret(x, 10, 14)]).secret().double() / 2.0**formats.frac_bits
    error = float((off - (x.double() / 2.0**10) ** power).abs().max())
    assert error > 0.1 * power_error(formats, 4.0)


def test_other_powers_are_refused() -> None:
    odd = PowerFormats(power=3, integer_bits=2, square_frac=6, factor_frac=5, ring_bits=40)
    with pytest.raises(ConfigError, match="no power 3"):
        run(power_of(odd), [Secret(torch.tensor([1]), 10, 14)])
