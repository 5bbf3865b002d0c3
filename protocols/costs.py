"""What the CrypTen engine's primitives cost, in closed form: the one table behind every counted bill."""

from __future__ import annotations

import math
from dataclasses import dataclass

from protocols.correlations import ELEMENT_BYTES, Shape, broadcast_shape, matmul_shape

CARRY_LEVELS = 6
"""log2(64) levels of CrypTen's carry tree."""


def payload_bytes(shape: Shape) -> int:
    """Bytes of a tensor of ring elements on the wire."""
    return ELEMENT_BYTES * math.prod(shape)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one primitive costs.

    Attributes:
        exchanges: a round each: bytes that either party sends the other at the same time.
        offline_bytes: correlated randomness from the dealer to the server; the client expands its seed.
    """

    exchanges: tuple[int, ...]
    offline_bytes: int


class PrimitiveCosts:
    """The CrypTen engine's primitives. `tests/conformance` compares every line with what the engine does.

    Operands are opened at their own shapes, before they broadcast; the dealer's part has the result's shape.
    """

    @staticmethod
    def mul(a: Shape, b: Shape) -> Cost:
        """Beaver: a - r and b - s are opened, the dealer sends r * s."""
        return Cost((payload_bytes(a) + payload_bytes(b),), payload_bytes(broadcast_shape(a, b)))

    @staticmethod
    def square(a: Shape) -> Cost:
        """a - r is opened, the dealer sends r^2."""
        return Cost((payload_bytes(a),), payload_bytes(a))

    @staticmethod
    def matmul(a: Shape, b: Shape) -> Cost:
        """As mul."""
        return Cost((payload_bytes(a) + payload_bytes(b),), payload_bytes(matmul_shape(a, b)))

    @staticmethod
    def linear(x: Shape, result: Shape) -> Cost:
        """x - r is opened; the weight minus its mask was opened when the session began."""
        return Cost((payload_bytes(x),), payload_bytes(result))

    @staticmethod
    def less_than_zero(a: Shape) -> Cost:
        """Both shares to 64-bit binary sharings, added by a carry tree, the sign bit back to a sum.

        One AND of words for the generate bits; on each of six levels two ANDs, of the propagate words with
        both kinds; one opened word for the sign bit. An AND opens two words and takes one from the dealer.
        """
        words = payload_bytes(a)
        return Cost((2 * words, *[4 * words] * CARRY_LEVELS, words), words + CARRY_LEVELS * 2 * words + words)

    @staticmethod
    def truncate(a: Shape) -> Cost:
        """Exact truncation: a + r is opened, the dealer sends r >> bits and r's top bit. Local: nothing."""
        return Cost((payload_bytes(a),), 2 * payload_bytes(a))

    @staticmethod
    def is_zero(a: Shape) -> Cost:
        """[a = 0], which only CrypTen's arg-max asks for: six ANDs of words and the sign bit."""
        words = payload_bytes(a)
        return Cost((*[2 * words] * CARRY_LEVELS, words), CARRY_LEVELS * words + words)

    @staticmethod
    def random(a: Shape, frac_bits: int) -> Cost:
        """Uniform secrets of `frac_bits` bits, each bit opened under a mask on the way to a sum."""
        words = payload_bytes(a) * frac_bits
        return Cost((words,), words)


def maximum_costs(shape: Shape, frac_bits: int) -> list[Cost]:
    """CrypTen's `max` over the last axis, arg-max included: what its stock softmax pays.

    1. int(ln n) halvings: a comparison and two products each. m entries a row remain.
    2. All pairs of those: (m - 1) m comparisons a row, products down to one bit an entry, a random choice
       among equals, and the product with the entries.
    3. Whether each of the n entries equals the maximum, and another random choice among equals: the one-hot
       arg-max, which softmax drops.
    """
    *rows, keys = shape
    lead, costs, left = tuple(rows), list[Cost](), keys
    for _ in range(int(math.log(keys))):
        half = (*lead, left // 2)
        product = PrimitiveCosts.mul(half, half)
        costs += [PrimitiveCosts.less_than_zero(half), product, product]
        left = left // 2 + left % 2
    costs.append(PrimitiveCosts.less_than_zero((left - 1, *lead, left)))
    pairs = left - 1
    while pairs > 1:
        factor = (pairs // 2, *lead, left)
        costs.append(PrimitiveCosts.mul(factor, factor))
        pairs = pairs // 2 + pairs % 2
    costs += _choice_costs((*lead, left), frac_bits)
    costs.append(PrimitiveCosts.mul((*lead, left), (*lead, left)))
    costs.append(PrimitiveCosts.is_zero(shape))
    costs += _choice_costs(shape, frac_bits)
    return costs


def _choice_costs(shape: Shape, frac_bits: int) -> list[Cost]:
    """CrypTen's `weighted_index` over the last axis: a random point below the row's sum."""
    row = (*shape[:-1], 1)
    return [
        PrimitiveCosts.random(row, frac_bits),
        PrimitiveCosts.mul(row, row),
        PrimitiveCosts.less_than_zero(shape),
    ]
