"""Which correlations the CrypTen executor takes, in order: announced to the dealer before a forward pass."""

from __future__ import annotations

import math
from functools import lru_cache

from protocols.additive.correlations import Kind, Request
from protocols.arithmetic.carry import levels
from protocols.arithmetic.shapes import Shape

CARRY_LEVELS = 6
"""log2(64) levels of the carry tree."""


@lru_cache(maxsize=4096)
def comparison(a: Shape) -> tuple[Request, ...]:
    """What one comparison of a tensor with zero takes."""
    carry = Request(Kind.AND, ((2, *a), (2, *a)))
    return (Request(Kind.AND, (a, a)), *[carry] * CARRY_LEVELS, Request(Kind.BIT, (a,)))


@lru_cache(maxsize=4096)
def packed_comparison(a: Shape, bits: int) -> tuple[Request, ...]:
    """What one comparison of the low `bits` bits of a tensor with zero takes."""
    elements = ((math.prod(a),),)
    tree = levels(bits - 1)
    nodes = [Request(Kind.CARRY_NODE, elements, bits=level.blocks) for level in tree[:-1]]
    leaves = Request(Kind.CARRY_LEAF, elements, bits=bits - 1)
    return (leaves, *nodes, Request(Kind.PACKED_BIT, elements))


class Schedule:
    """Collects the requests of primitives, from shapes alone, in the order in which an executor takes them.

    Attributes:
        requests: what was collected; hand it to the executor's `prefetch`.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def mul(self, a: Shape, b: Shape) -> None:
        """A product of secrets."""
        self._add(Kind.MUL, a, b)

    def square(self, a: Shape) -> None:
        """A square."""
        self._add(Kind.SQUARE, a)

    def matmul(self, a: Shape, b: Shape) -> None:
        """A matrix product of secrets."""
        self._add(Kind.MATMUL, a, b)

    def linear(self, x: Shape, weight: Shape, name: str, *, transposed: bool = False) -> None:
        """A product with a weight that was opened once a session."""
        self._add(Kind.LINEAR_TRANSPOSED if transposed else Kind.LINEAR, x, weight, weight=name)

    def less_than_zero(self, a: Shape) -> None:
        """A comparison with zero: seven ANDs, one bit."""
        self.requests.extend(comparison(a))

    def packed_less_than_zero(self, a: Shape, bits: int) -> None:
        """The same on packed bits."""
        self.requests.extend(packed_comparison(a, bits))

    def truncate(self, a: Shape, bits: int) -> None:
        """An exact truncation by `bits`."""
        self._add(Kind.TRUNCATION, a, bits=bits)

    def step(self, kind: Kind, *shapes: Shape) -> None:
        """A correlation of any kind that needs no more than shapes."""
        self._add(kind, *shapes)

    def _add(self, kind: Kind, *shapes: Shape, weight: str = "", bits: int = 0) -> None:
        self.requests.append(Request(kind, shapes, weight, bits))
