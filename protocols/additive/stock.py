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
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.inverse_sqrt import InverseSqrt
from protocols.arithmetic.operation import CausalProtocol, UnaryProtocol
from protocols.key_masks import pattern_mask
from protocols.key_pattern import KeyPattern
from protocols.share import Share

HIDDEN = -100.0
"""Added to scores that a query may not see: CrypTen's exponential explodes 512 below the row's maximum."""
MAX_KEYS = 200
"""CrypTen's reciprocal explodes from denominators of about 256."""


def exponential(executor: Arithmetic, x: Share) -> Share:
    """(1 + x / 256)^256; 8 rounds. Errors of 1e-3 near 0; |x| below 512."""
    power = executor.add_public(executor.shift_down(x, 8), 1.0)
    for _ in range(8):
        power = executor.square(power)
    return power


@final
class StockExponential(UnaryProtocol):
    """`exponential` of numbers that are not positive.

    Source: CrypTen 0.4.1 (Knott et al., NeurIPS 2021).
    """

    domain = (-500.0, 0.0)
    max_abs_error = 5e-3

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        return exponential(executor, x)


def reciprocal(executor: Arithmetic, x: Share, start: Share, steps: int) -> Share:
    """Newton's y <- 2 y - x y^2 from a start; 2 rounds a step."""
    y = start
    for _ in range(steps):
        y = executor.sub(executor.mul_integer(y, 2), executor.mul(executor.square(y), x))
    return y


def sigmoid(executor: Arithmetic, x: Share) -> Share:
    """1 / (1 + e^-|x|), reflected for negative x; 23 rounds. |x| below 512."""
    negative = executor.less_than_zero(x)
    sign = executor.add_public(executor.mul_integer(negative, -2), 1.0)
    magnitude = executor.mul(x, sign)
    denominator = executor.add_public(exponential(executor, executor.neg(magnitude)), 1.0)
    first = executor.combination([(denominator, -0.5625)], 1.5)  # the step from the public start 0.75
    positive = reciprocal(executor, denominator, first, 2)
    reflected = executor.add_public(executor.neg(positive), 1.0)
    kept = executor.mul(positive, executor.add_public(executor.neg(negative), 1.0))
    return executor.add(kept, executor.mul(reflected, negative))


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

    exponential = StockExponential()
    max_spread = 400.0
    max_abs_error = 1e-2

    def __call__(
        self,
        executor: Arithmetic,
        scores: Share,
        start: int,
        window: int = 0,
        *,
        causal: bool = True,
        patterns: tuple[KeyPattern, ...] = (),
    ) -> Share:
        tokens, keys = scores.shape[-2:]
        if keys > MAX_KEYS and not scores.value.is_meta:
            raise RangeError(
                f"CrypTen's softmax takes at most {MAX_KEYS} keys, not {keys}: its reciprocal explodes"
            )
        if keys == 1:
            return executor.add_public(executor.rearrange(scores, torch.zeros_like), 1.0)
        hidden = torch.ones(tokens, keys, dtype=torch.float64).triu(start + 1 if causal else keys)
        if window:
            hidden += torch.ones(tokens, keys, dtype=torch.float64).tril(start - window)
        if patterns:
            hidden = (~pattern_mask(patterns, start, tokens)).to(torch.float64)
        masked = executor.add_public(scores, hidden * HIDDEN)
        peak = executor.native("max", masked, dim=len(scores.shape) - 1, keepdim=True)
        powers = exponential(executor, executor.sub(masked, peak))
        total = executor.sum(powers, -1)
        guess = exponential(executor, executor.add_public(executor.mul_integer(total, -2), 1.0))
        guess = executor.add_public(executor.mul_integer(guess, 3), 0.003)
        weights = executor.mul(powers, reciprocal(executor, total, guess, 10))
        visible = (1 - hidden).to(torch.int64)
        return executor.mul_integer(weights, visible)


@final
class StockGelu(UnaryProtocol):
    """x (1 + tanh(y)) / 2, y = sqrt(2 / pi) (x + 0.044715 x^3), tanh(y) = 2 sigmoid(2 y) - 1; 26 rounds.

    Source: CrypTen 0.4.1 (Knott et al., NeurIPS 2021).
    """

    domain = (-18.0, 18.0)
    max_abs_error = 2e-3

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        cube = executor.mul(executor.square(x), x)
        inner = executor.combination([(x, 1.0), (cube, 0.044715)])
        argument = executor.mul_public(inner, 2.0 * math.sqrt(2.0 / math.pi))
        return executor.mul(x, sigmoid(executor, argument))


@final
class StockSilu(UnaryProtocol):
    """x sigmoid(x); 24 rounds.

    Source: CrypTen 0.4.1 (Knott et al., NeurIPS 2021).
    """

    domain = (-500.0, 500.0)
    max_abs_error = 2.5e-2

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        return executor.mul(x, sigmoid(executor, x))


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

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        guess = exponential(executor, executor.neg(executor.add_public(executor.shift_down(x, 1), 0.2)))
        y = executor.combination([(guess, 2.2), (x, -1.0 / 1024)], 0.2)
        for _ in range(3):
            product = executor.mul(x, executor.square(y))
            y = executor.shift_down(executor.mul(y, executor.add_public(executor.neg(product), 3.0)), 1)
        return y
