"""Costs of the CrypTen executor's primitives, in closed form: the one table behind every counted bill."""

from __future__ import annotations

import math
from dataclasses import dataclass

from protocols.additive.correlations import ELEMENT_BYTES, Kind
from protocols.arithmetic.bits import squeezed_bytes
from protocols.arithmetic.carry import levels
from protocols.arithmetic.shapes import Shape, broadcast_shape, matmul_shape

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
    """The CrypTen executor's primitives. `tests/conformance` compares every line with what the executor does.

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
    def packed_less_than_zero(a: Shape, bits: int) -> Cost:
        """The carry out of both shares' low bits by levels of masked gates, then the sign bit to a sum.

        What a level opens, and what the dealer makes for it, is packed bit by bit.
        """
        elements, tree = math.prod(a), levels(bits - 1)
        opened = [squeezed_bytes(level.opened, elements) for level in tree]
        dealt = sum(squeezed_bytes(level.products, elements) for level in tree)
        return Cost((*opened, squeezed_bytes(1, elements)), dealt + payload_bytes(a))

    @staticmethod
    def less_than_zero(a: Shape) -> Cost:
        """Both shares to 64-bit binary sharings, added by a carry tree, the sign bit back to a sum.

        One AND of words for the generate bits; on each of six levels two ANDs, of the propagate words with
        both kinds; one opened word for the sign bit. An AND opens two words and takes one from the dealer.
        """
        words = payload_bytes(a)
        return Cost((2 * words, *[4 * words] * CARRY_LEVELS, words), words + CARRY_LEVELS * 2 * words + words)

    @staticmethod
    def step(kind: Kind, shapes: tuple[Shape, ...]) -> Cost:
        """One correlation of a product, an AND or a bit, and the opening that spends it."""
        result = shapes[0] if len(shapes) == 1 else broadcast_shape(*shapes)
        return Cost((sum(payload_bytes(shape) for shape in shapes),), payload_bytes(result))

    @staticmethod
    def truncate(a: Shape) -> Cost:
        """Exact truncation: a + r is opened, the dealer sends r >> bits and r's top bit. Local: nothing."""
        return Cost((payload_bytes(a),), 2 * payload_bytes(a))
