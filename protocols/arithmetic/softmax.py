"""Softmax over the keys that a query may see."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.exponential import QuarticExponential
from protocols.arithmetic.maximum import TreeMaximum
from protocols.arithmetic.operation import CausalProtocol, RowMaximum, UnaryProtocol
from protocols.arithmetic.pattern_rows import rows_of
from protocols.arithmetic.reciprocal import GoldschmidtReciprocal, ScaledReciprocal
from protocols.key_pattern import KeyPattern
from protocols.share import Share

ReciprocalOfRange = Callable[[float, float], ScaledReciprocal]
SLACK = 0.01
"""How far, relatively, a denominator may lie outside [1, S] because exponentials have errors."""


@final
class TreeSoftmax(CausalProtocol):
    """Softmax over the keys each query may see; what it may not see is never touched.

    1. Pack the visible scores of all rows end to end.
    2. Row maxima; subtract each from its row.
    3. Exponentials of the packed differences.
    4. Unpack with zeros on hidden keys; row sums, local: each lies in [1, S].
    5. Reciprocals of the row sums, scaled by 2^k to keep their precision.
    6. Products, shifted down by k; hidden keys are set to exact zeros.

    Hidden scores are left out instead of masked with -10^4, which CrypTen's exponential turns into 10^9; and
    maximum and exponential cost half of what they would on the full square.

    Source: softmax below the row's maximum, as floating-point libraries compute it; parts have their own.

    Args:
        maximum, exponential: the parts of steps 2 and 3.
        reciprocal: the part of step 5, for a range of row sums.
        overshoot: exponentials are at most this, where the maximum has a tolerance.
        packed: step 6 leaves hidden keys out; each row's reciprocal is then a factor for every key, which
            costs more where a factor that occurs often is opened once.
    """

    max_spread = -QuarticExponential.domain[0]
    max_abs_error = 2.5e-3

    def __init__(
        self,
        maximum: RowMaximum | None = None,
        exponential: UnaryProtocol | None = None,
        *,
        reciprocal: ReciprocalOfRange = GoldschmidtReciprocal,
        overshoot: float = 1.0,
        packed: bool = False,
    ) -> None:
        self._maximum, self._packed = maximum or TreeMaximum(), packed
        self._reciprocal, self._overshoot = reciprocal, overshoot
        self.exponential = exponential or QuarticExponential()

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
        rows = rows_of(scores, start, window, causal=causal, patterns=patterns)
        if rows.keys == 1:
            ones = executor.rearrange(scores, torch.zeros_like)
            return executor.add_public(ones, 1.0)
        packed = rows.pack(executor, scores)
        peak = self._maximum(executor, packed, rows.lengths)
        powers = self.exponential(executor, executor.sub(packed, rows.spread(executor, peak)))
        unpacked = rows.unpack(executor, powers)
        total = executor.sum(unpacked, -1)
        reciprocal = self._reciprocal(1.0 - SLACK, self._overshoot * max(rows.lengths) * (1.0 + SLACK))
        inverse = reciprocal.scaled(executor, total)
        with executor.within(2.0 ** (reciprocal.scale_bits + 1)):
            if self._packed:
                each = rows.spread(executor, executor.rearrange(inverse, lambda value: value[..., 0]))
                weights = executor.shift_down(executor.mul(powers, each), reciprocal.scale_bits)
                return rows.unpack(executor, weights)
            weights = executor.mul(unpacked, inverse)
        return rows.hide(executor, executor.shift_down(weights, reciprocal.scale_bits))
