"""GELU."""

from __future__ import annotations

from typing import final

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.chebyshev import ChebyshevSeries
from protocols.arithmetic.operation import UnaryProtocol
from protocols.arithmetic.piecewise import PiecewiseGate
from protocols.share import Share

TANH_FORM_GAP = 4.8e-4
"""GPT-2 has GELU with tanh, at most that far from GELU, which protocols here compute."""

# x erf(x / sqrt 2) / 2 on [0, R] as Chebyshev series in 2 (x / R)^2 - 1, minimax by Lawson's reweighted least
# squares. R balances the fit with what the outer pieces neglect, R (1 - Phi(R)).
_COARSE = PiecewiseGate(3.15, ChebyshevSeries((0.9465573, 0.7411225, -0.1488291, 0.042537, -0.011514)))
_FINE = PiecewiseGate(
    4.2,
    ChebyshevSeries(
        (1.2970682, 0.9563623, -0.2117204, 0.0813769, -0.0315794, 0.0111762, -0.0035314, 0.0009961, -0.000265)
    ),
)


@final
class PiecewiseGelu(UnaryProtocol):
    """x Phi(x) as 0, a polynomial of degree 8 in x, and x; cut at -3.15 and 3.15. See `PiecewiseGate`.

    Cost under the suite `crypten`: 8 rounds and 65 bytes an element.
    Source: piecewise polynomials as in PUMA (Dong et al., 2023); pieces and fit are this project's own.
    """

    domain = (-32750.0, 32750.0)
    max_abs_error = 2.7e-3

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        return _COARSE(executor, x)


@final
class FinePiecewiseGelu(UnaryProtocol):
    """As `PiecewiseGelu` with degree 16 and cuts at -4.2 and 4.2: one round and 32 bytes more.

    Source: piecewise polynomials as in PUMA (Dong et al., 2023); pieces and fit are this project's own.
    """

    domain = (-32750.0, 32750.0)
    max_abs_error = 2.5e-4

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        return _FINE(executor, x)
