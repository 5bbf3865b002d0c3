"""The cost of CrypTen 0.4.1's `max`, step by step, which its stock softmax pays."""

from __future__ import annotations

import math

from protocols.additive.correlations import Kind
from protocols.additive.schedule import CARRY_LEVELS
from protocols.arithmetic.shapes import Shape

Step = tuple[Kind, tuple[Shape, ...]]
"""A correlation and the shapes that are opened under its masks: one round."""


def maximum_steps(shape: Shape, frac_bits: int) -> list[Step]:
    """The rounds of `max` over the last axis, the arg-max that comes with it included.

    1. int(ln n) halvings: a comparison and two products each. m entries a row remain.
    2. All pairs of those: (m - 1) m comparisons a row, products down to one bit an entry, a random choice
       among equals, and the product with the entries.
    3. Whether each of the n entries equals the maximum, and another random choice among equals: the one-hot
       arg-max, which softmax drops.
    """
    *lead, keys = shape
    steps: list[Step] = []
    left = keys
    for _ in range(int(math.log(keys))):
        half = (*lead, left // 2)
        steps += [*_comparison(half), (Kind.MUL, (half, half)), (Kind.MUL, (half, half))]
        left = left // 2 + left % 2
    steps += _comparison((left - 1, *lead, left))
    pairs = left - 1
    while pairs > 1:
        factor = (pairs // 2, *lead, left)
        steps.append((Kind.MUL, (factor, factor)))
        pairs = pairs // 2 + pairs % 2
    reduced = (*lead, left)
    steps += [*_choice(reduced, frac_bits), (Kind.MUL, (reduced, reduced))]
    steps += [*_equality(shape), *_choice(shape, frac_bits)]
    return steps


def _comparison(shape: Shape) -> list[Step]:
    """[a < 0]: both shares to 64-bit binary sharings, added by a carry tree, the sign bit back to a sum."""
    words, carry = (1, *shape), (2, 1, *shape)
    return [
        (Kind.AND, (words, words)),
        *[(Kind.AND, (carry, carry))] * CARRY_LEVELS,
        (Kind.BIT, (shape,)),
    ]


def _equality(shape: Shape) -> list[Step]:
    """[a = 0]: six ANDs of words, and the sign bit back to a sum."""
    return [*[(Kind.AND, (shape, shape))] * CARRY_LEVELS, (Kind.BIT, (shape,))]


def _choice(shape: Shape, frac_bits: int) -> list[Step]:
    """`weighted_index` over the last axis: a random point below the row's sum, and who reaches it."""
    row = (*shape[:-1], 1)
    return [(Kind.BIT, ((frac_bits, *row),)), (Kind.MUL, (row, row)), *_comparison(shape)]
