"""ReLU."""

from __future__ import annotations

from typing import final

from protocols.arithmetic import Arithmetic
from protocols.operation import UnaryProtocol
from protocols.share import Share


@final
class CompareRelu(UnaryProtocol):
    """max(x, 0), exactly.

    1. b = [x < 0].
    2. x (1 - b): a product with a bit, nothing is truncated.

    Cost on the CrypTen engine: 9 rounds and 232 bytes an element.
    """

    domain = (-(2.0**40), 2.0**40)
    max_abs_error = 0.0

    def __call__(self, engine: Arithmetic, x: Share) -> Share:
        negative = engine.less_than_zero(x)
        return engine.mul(x, engine.add_public(engine.neg(negative), 1.0))
