"""The exponential over its whole domain, for every rounding."""

from __future__ import annotations

import pytest
import torch

from parties.errors import RangeError
from protocols.arithmetic.exponential import QuarticExponential
from tests.roundings import ROUNDINGS, clear_executor, on_grid, share

LOW, HIGH = QuarticExponential.domain


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_error(rounding: str) -> None:
    parts = [torch.linspace(LOW, HIGH, 200_001), torch.linspace(-8.0, HIGH, 200_001)]
    x = on_grid(torch.cat(parts))
    executor = clear_executor(ROUNDINGS[rounding])
    got = executor.open_to(0, QuarticExponential()(executor, share(executor, x)))
    assert float((got - x.exp()).abs().max()) <= QuarticExponential.max_abs_error


def test_zero_gives_one_and_the_far_end_nothing() -> None:
    executor = clear_executor()
    x = torch.tensor([0.0, LOW, LOW / 2, -30.0], dtype=torch.float64)
    got = executor.open_to(0, QuarticExponential()(executor, share(executor, x)))
    assert got[0] == 1.0
    assert float(got[1:].abs().max()) <= 2.0**-16


def test_does_not_hold_beyond_the_domain() -> None:
    executor = clear_executor()
    x = torch.tensor([2.0 * LOW], dtype=torch.float64)
    with pytest.raises(RangeError):
        QuarticExponential()(executor, share(executor, x))
