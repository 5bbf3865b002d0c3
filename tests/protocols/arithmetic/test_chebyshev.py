"""Chebyshev series on shares equal the polynomial, up to rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from protocols.arithmetic.chebyshev import ChebyshevSeries, interpolate
from tests.roundings import ROUNDINGS, clear_executor, on_grid, share

UNIT = 2.0**-16


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("count", [5, 9])
def test_series(count: int, rounding: str) -> None:
    """Twice a rounded square or product is off by 2 units and passes on 4 times its factors' errors.

    T_2 is off by 2 units, T_3 by 6, T_4 by 10, the product of T_4 and its factor by about 20. Nine terms
    whose coefficients are half a unit off add up to less than 40.
    """
    coefficients = tuple(1.0 / (1 + i) * (-1) ** i for i in range(count))
    executor = clear_executor(ROUNDINGS[rounding])
    v = on_grid(torch.linspace(-1.0, 1.0, 5001, dtype=torch.float64))
    z = on_grid(torch.linspace(3.0, -3.0, 5001, dtype=torch.float64))
    got = executor.open_to(
        0, ChebyshevSeries(coefficients)(executor, share(executor, v), [(share(executor, z), 0.5)])
    )
    expected = np.polynomial.chebyshev.chebval(v.numpy(), coefficients) + 0.5 * z.numpy()
    assert float(np.abs(got.numpy() - expected).max()) <= 40 * UNIT


def test_interpolation() -> None:
    series = interpolate(math.exp, -1.0, 3.0, 8)
    x = np.linspace(-1.0, 3.0, 101)
    got = np.polynomial.chebyshev.chebval((x - 1.0) / 2.0, series.coefficients)
    assert np.abs(got - np.exp(x)).max() < math.e**3 * 2.0**9 / (2**8 * math.factorial(9))
