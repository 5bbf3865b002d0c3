"""Normalised rows, refusals, and what a range costs."""

from __future__ import annotations

import pytest
import torch

from parties.errors import RangeError
from parties.meter import Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.arithmetic.inverse_sqrt import RangeReducedInverseSqrt
from tests.roundings import ROUNDINGS, clear_executor, on_grid, share

UNIT = 2.0**-16


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("low", "high"), [(2.0**-8, 2.0**20), (0.1, 150.0), (0.3, 1.1), (300.0, 1100.0)])
def test_normalised_rows(low: float, high: float, rounding: str) -> None:
    """Entries up to 30 standard deviations, as rows of 1,024 may have.

    Where the factor 1 / sqrt is multiplied last, its relative error is the result's; a row that is scaled
    down first loses a unit, times the mantissa's root of at most 1. Where the product of both is rounded
    first, the result is off by that unit times the entry.
    """
    protocol, executor = RangeReducedInverseSqrt(low, high), clear_executor(ROUNDINGS[rounding])
    power = on_grid(low * (high / low) ** torch.linspace(0, 1, 2001, dtype=torch.float64)).clamp(low, high)
    power = on_grid(power)
    deviations = torch.tensor([-30.0, -1.0, 0.25, 8.0], dtype=torch.float64)
    x = torch.nn.functional.pad(on_grid(deviations * power.sqrt()[:, None]), (0, 1020))
    got = executor.open_to(
        0, protocol.normalise(executor, share(executor, x), share(executor, power[:, None]))
    )
    expected = x / power.sqrt()[:, None]
    entry = (
        x.abs() if protocol.exponents[-1] <= RangeReducedInverseSqrt.COARSEST_EXPONENT else torch.ones_like(x)
    )
    tolerance = protocol.max_rel_error * expected.abs() + UNIT * (2 + 2 * entry)
    assert bool(((got - expected).abs() <= tolerance).all())


def rounds(low: float, high: float) -> int:
    meter = Meter(timed=False)
    executor = CountingArithmetic(meter)
    RangeReducedInverseSqrt(low, high)(executor, executor.share_from(0, None, (5, 1)))
    return meter.bill().total.rounds


def test_narrow_ranges_need_no_comparison() -> None:
    comparison = CountingArithmetic(Meter(timed=False))
    comparison.less_than_zero(comparison.share_from(0, None, (1,)))
    assert rounds(3.0, 12.0) == 3
    assert rounds(3.0, 12.1) == rounds(2.0**-8, 2.0**20) == 5 + comparison.meter.bill().total.rounds


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 1.0), (2.0**-9, 1.0), (1.0, 2.0**21)])
def test_refuses_ranges(low: float, high: float) -> None:
    with pytest.raises(RangeError, match="inverse square root"):
        RangeReducedInverseSqrt(low, high)
