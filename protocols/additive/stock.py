"""CrypTen 0.4.1's own compositions, step by step, for comparison: what its users pay, and where they fail.

Rounds and bytes are those of the library's `exp`, `reciprocal`, `inv_sqrt`, `sigmoid` and `softmax`, which
tests/protocols/additive/crypten checks. Their domains are narrow, and stated; the compositions of the other
files are better in every respect.
"""

from __future__ import annotations

import math
from typing import final

import torch

from parties.errors import RangeError
from protocols.additive.arithmetic import Arithmetic
from protocols.additive.inverse_sqrt import InverseSqrt
from protocols.additive.operation import CausalProtocol, UnaryProtocol
from protocols.share import Share

HIDDEN = -100.0
"""Added to scores that a query may not see: CrypTen's exponential explodes 512 below the row's maximum."""
MAX_KEYS = 200
"""CrypTen's reciprocal explodes from denominators of about 256."""


def exponential(engine: Arithmetic, x: Share) -> Share:
    """(1 + x / 256)^256; 8 rounds. Errors of 1e-3 near 0; |x| below 512."""
    power = engine.add_public(engine.shift_down(x, 8), 1.0)
    for _ in range(8):
        power = engine.square(power)
    return power


def reciprocal(engine: Arithmetic, x: Share, start: Share, steps: int) -> Share:
    """Newton's y <- 2 y - x y^2 from a start; 2 rounds a step."""
    y = start
    for _ in range(steps):
        y = engine.sub(engine.mul_integer(y, 2), engine.mul(engine.square(y), x))
    return y


def sigmoid(engine: Arithmetic, x: Share) -> Share:
    """1 / (1 + e^-|x|), reflected for negative x; 23 rounds. |x| below 512."""
    negative = engine.less_than_zero(x)
    sign = engine.add_public(engine.mul_integer(negative, -2), 1.0)
    magnitude = engine.mul(x, sign)
    denominator = engine.add_public(exponential(engine, engine.neg(magnitude)), 1.0)
    first = engine.combination([(denominator, -0.5625)], 1.5)  # the step from the public start 0.75
    positive = reciprocal(engine, denominator, first, 2)
    reflected = engine.add_public(engine.neg(positive), 1.0)
    kept = engine.mul(positive, engine.add_public(engine.neg(negative), 1.0))
    return engine.add(kept, engine.mul(reflected, negative))


@final
class StockSoftmax(CausalProtocol):
    """CrypTen's softmax on the full square of scores, hidden ones lowered by 100.

    Hidden scores must not be more than 80 above the visible ones: lowered by more, they would leave the range
    of step 2.

    1. The row maximum, with a one-hot arg-max that is dropped.
    2. (1 + x / 256)^256 of what is left.
    3. Row sums, and ten Newton steps for their reciprocals from 3 e^(1 - 2 x) + 0.003.
    4. Products; hidden keys are set to exact zeros.

    Source: CrypTen 0.4.1 (Knott et al., NeurIPS 2021).

    Raises:
        RangeError: more than 200 keys, where step 3 can explode; a bill may be counted for any number.
    """

    max_spread = 400.0
    max_abs_error = 1e-2

    def __call__(self, engine: Arithmetic, scores: Share, start: int) -> Share:
        tokens, keys = scores.shape[-2:]
        if keys > MAX_KEYS and not scores.value.is_meta:
            raise RangeError(
                f"CrypTen's softmax takes at most {MAX_KEYS} keys, not {keys}: its reciprocal explodes"
            )
        if keys == 1:
            return engine.add_public(engine.rearrange(scores, torch.zeros_like), 1.0)
        hidden = torch.ones(tokens, keys, dtype=torch.float64).triu(start + 1)
        masked = engine.add_public(scores, hidden * HIDDEN)
        peak = engine.native("max", masked, dim=len(scores.shape) - 1, keepdim=True)
        powers = exponential(engine, engine.sub(masked, peak))
        total = engine.sum(powers, -1)
        guess = exponential(engine, engine.add_public(engine.mul_integer(total, -2), 1.0))
        guess = engine.add_public(engine.mul_integer(guess, 3), 0.003)
        weights = engine.mul(powers, reciprocal(engine, total, guess, 10))
        visible = (1 - hidden).to(torch.int64)
        return engine.mul_integer(weights, visible)


@final
class StockGelu(UnaryProtocol):
    """x (1 + tanh(y)) / 2, y = sqrt(2 / pi) (x + 0.044715 x^3), tanh(y) = 2 sigmoid(2 y) - 1; 26 rounds.

    Source: CrypTen 0.4.1 (Knott et al., NeurIPS 2021).
    """

    domain = (-18.0, 18.0)
    max_abs_error = 2e-3

    def __call__(self, engine: Arithmetic, x: Share) -> Share:
        cube = engine.mul(engine.square(x), x)
        inner = engine.combination([(x, 1.0), (cube, 0.044715)])
        argument = engine.mul_public(inner, 2.0 * math.sqrt(2.0 / math.pi))
        return engine.mul(x, sigmoid(engine, argument))


@final
class StockSilu(UnaryProtocol):
    """x sigmoid(x); 24 rounds.

    Source: CrypTen 0.4.1 (Knott et al., NeurIPS 2021).
    """

    domain = (-500.0, 500.0)
    max_abs_error = 2.5e-2

    def __call__(self, engine: Arithmetic, x: Share) -> Share:
        return engine.mul(x, sigmoid(engine, x))


@final
class StockInverseSqrt(InverseSqrt):
    """Three Newton steps y <- y (3 - x y^2) / 2 from 2.2 e^-(x / 2 + 0.2) + 0.2 - x / 1024; 17 rounds.

    Source: CrypTen 0.4.1 (Knott et al., NeurIPS 2021).

    Raises:
        RangeError: a range beyond [0.1, 150.00001], where it fails.
    """

    def __init__(self, low: float, high: float) -> None:
        if not 0.1 <= low <= high <= 150.001:
            raise RangeError(f"CrypTen's inverse square root holds on [0.1, 150], not on [{low:g}, {high:g}]")
        super().__init__(low, high)
        self.max_rel_error = 1e-2

    def __call__(self, engine: Arithmetic, x: Share) -> Share:
        guess = exponential(engine, engine.neg(engine.add_public(engine.shift_down(x, 1), 0.2)))
        y = engine.combination([(guess, 2.2), (x, -1.0 / 1024)], 0.2)
        for _ in range(3):
            product = engine.mul(x, engine.square(y))
            y = engine.shift_down(engine.mul(y, engine.add_public(engine.neg(product), 3.0)), 1)
        return y
