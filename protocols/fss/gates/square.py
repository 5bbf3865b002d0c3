"""Squares of masked values, element by element."""

from __future__ import annotations

from typing import ClassVar, final

from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Shares, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.polynomial import square_wraps
from protocols.fss.gates.terms import coefficients, secrets
from protocols.fss.preprocessing.correlations import Correlations, Shared
from protocols.share import Held, Share


@final
class Square(Gate):
    """x^2 of a view, as an additive share in a ring of one's choice.

    With x = p - R + u w as in `polynomial.py`, x^2 = p^2 - 2 p R + 2 p u w + R^2 + u (w^2 - 2 R w): four
    shared secrets, R, w, R^2 and w^2 - 2 R w, where `Product` of the view with itself would take eight.

    Args:
        ring_bits: of the result.

    Cost: no round, nothing online. Key: 4 ring_bits - 2 m - 1 an element for a view of m bits, to the server.
    Reveals: nothing.
    Source: the square correlation (r, r^2) of Beaver's products, with the views of this suite.
    """

    reason: ClassVar[str] = "square"

    def __init__(self, ring_bits: int) -> None:
        self._ring_bits = ring_bits

    def correlations(self, *inputs: Share) -> Correlations:
        (x,) = inputs
        assert x.held is Held.MASKED, f"{x!r} is not masked"
        element = Shared(x.shape, self._ring_bits)
        return {"mask": element, "square": element, **square_wraps(x, self._ring_bits)}

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only(x.shape, 2 * x.frac_bits, self._ring_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (x,) = inputs
        mask, square, wrap, cross = (party.shared(item) for item in self.correlations(x).values())
        p, _, u = coefficients(x)
        value = 2 * p * (u * wrap - mask) + u * cross + square + party.first * p * p
        return (Share(value, 2 * x.frac_bits, self._ring_bits),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (x,) = inputs
        correlations = self.correlations(x)
        mask, wrap = secrets(x)
        values = (mask, mask * mask, wrap, wrap * wrap - 2 * mask * wrap)
        for item, value in zip(correlations.values(), values, strict=True):
            dealing.share(item, value)
        return self.outputs(x)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (x,) = inputs
        clear.check_magnitude(x.value.double().square(), self._ring_bits, 2 * x.frac_bits)
        return (Share(x.value * x.value, 2 * x.frac_bits, self._ring_bits),)
