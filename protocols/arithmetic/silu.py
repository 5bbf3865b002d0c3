"""SiLU."""

from __future__ import annotations

from typing import final

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.chebyshev import ChebyshevSeries
from protocols.arithmetic.operation import UnaryProtocol
from protocols.arithmetic.piecewise import PiecewiseGate
from protocols.share import Share

# x tanh(x / 2) / 2 on [0, 8.25], made as GELU's series.
_GATE = PiecewiseGate(
    8.25,
    ChebyshevSeries(
        (2.558255, 1.8546745, -0.4019165, 0.1620874, -0.073758, 0.0346176, -0.0163879, 0.0077773, -0.0047701)
    ),
)


@final
class PiecewiseSilu(UnaryProtocol):
    """x / (1 + e^-x) as 0, a polynomial of degree 16 in x, and x; cut at -8.25 and 8.25. See `PiecewiseGate`.

    Cost under the suite `crypten`: 9 rounds and 97 bytes an element.
    Source: piecewise polynomials as in PUMA (Dong et al., 2023); pieces and fit are this project's own.
    """

    domain = (-32750.0, 32750.0)
    max_abs_error = 2.7e-3

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        return _GATE(executor, x)
