"""Reciprocals over every range that a softmax row sum can have, and refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parties.errors import RangeError
from parties.meter import Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.arithmetic.reciprocal import GoldschmidtReciprocal
from tests.roundings import ROUNDINGS, clear_executor, on_grid, share

UNIT = 2.0**-16


def over(low: float, high: float, count: int = 10_001) -> torch.Tensor:
    """Numbers from both ends, even and even in their logarithms."""
    even = torch.linspace(0.0, 1.0, count, dtype=torch.float64)
    x = on_grid(torch.cat([low + (high - low) * even, low * (high / low) ** even]))
    return x[(x >= low) & (x <= high)]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    "keys", [1, 2, 3, 10, 64, 128, 256, 300, 512, 777, 1000, 1024, 1090, 1091, 2048, 4000]
)
def test_error(keys: int, rounding: str) -> None:
    low, high = 0.99, keys * 1.01
    protocol, executor = GoldschmidtReciprocal(low, high), clear_executor(ROUNDINGS[rounding])
    x = over(low, high)
    scaled = executor.open_to(0, protocol.scaled(executor, share(executor, x))) / 2.0**protocol.scale_bits
    assert float((scaled * x - 1.0).abs().max()) <= protocol.max_rel_error
    plain = executor.open_to(0, protocol(executor, share(executor, x)))
    assert float((plain - 1 / x).abs().max()) <= protocol.max_rel_error / low + 2 * UNIT


@settings(max_examples=40, deadline=None, derandomize=True)
@given(low=st.floats(0.07, 4.0), ratio=st.floats(1.0, 1000.0))
@example(low=1.109375, ratio=1000.0)
@example(low=3.3, ratio=660.68)
def test_any_range(low: float, ratio: float) -> None:
    protocol, executor = GoldschmidtReciprocal(low, low * ratio), clear_executor()
    x = over(low, low * ratio, 201)
    if not len(x):
        return
    scaled = executor.open_to(0, protocol.scaled(executor, share(executor, x))) / 2.0**protocol.scale_bits
    rounding = 2 * UNIT * low * ratio / 2.0**protocol.scale_bits
    assert float((scaled * x - 1.0).abs().max()) <= protocol.max_rel_error + rounding


@pytest.mark.parametrize(("keys", "rounds"), [(2, 5), (128, 9), (1024, 10)])
def test_rounds(keys: int, rounds: int) -> None:
    meter = Meter(timed=False)
    executor = CountingArithmetic(meter)
    GoldschmidtReciprocal(0.99, keys * 1.01)(executor, executor.share_from(0, None, (7,)))
    assert meter.bill().total.rounds == rounds


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.05, 1.0), (2.0, 1.0), (1.0, 5000.0), (-1.0, 1.0)])
def test_refuses_ranges(low: float, high: float) -> None:
    with pytest.raises(RangeError, match="reciprocal"):
        GoldschmidtReciprocal(low, high)
