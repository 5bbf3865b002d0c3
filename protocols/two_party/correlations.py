"""Correlated randomness that two parties make together: what can be asked for, and shares of it.

A request is a plain value, so that a whole forward pass can be announced before it starts, and made in few
messages. All is modulo 2^bits; elements are int64 whose higher bits mean nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import torch

from protocols.arithmetic.shapes import Shape, broadcast_shape, matmul_shape


class Kind(StrEnum):
    """A relation, by the name under which it is made and billed."""

    PRODUCT = "product"
    """Random a, b and a * b, broadcasting: additive shares of all three."""
    SQUARE = "square"
    """Random r and r^2."""
    MATMUL = "matmul"
    """Random a, b and their batched matrix product."""
    LINEAR = "linear"
    """Random a, which the client alone knows, and additive shares of a times a weight of the server's."""
    LINEAR_TRANSPOSED = "linear.transposed"
    """The same times the weight's transpose."""
    SCORES = "scores"
    """Random rows s for new queries, r for new keys, and s times all keys' r, those of earlier tokens too."""
    MIX = "mix"
    """Random rows s for new attention weights, r for new values, and s times all values' r."""
    WRAP = "wrap"
    """Random bits, one of the server's and one of the client's, and additive shares of their product."""
    SELECT = "select"
    """A random bit, XOR-shared and additively shared, a random number, and their product."""
    BIT = "bit"
    """A random bit, XOR-shared and additively shared."""
    AND = "and"
    """Random bits a, b and a & b, XOR-shared."""
    DIGIT = "digit"
    """Random 2-bit entries of tables of 16, known to the server; the client knows one of each, and which."""

    PLACE_128 = "place.128"
    """A random index, additively shared, and XOR shares of the one-hot rows of its digits: the lower is one
    of 128, the upper has the bits that are left."""
    PLACE_256 = "place.256"
    """The same with a lower digit that is one of 256."""
    TRANSFER = "transfer"
    """Random OTs in both directions: the sender knows two masks, the receiver one and which."""


KEPT = (Kind.SCORES, Kind.MIX)
"""Products with factors that stay: keys and values."""
MATRICES = (Kind.MATMUL, Kind.LINEAR, Kind.LINEAR_TRANSPOSED, *KEPT)
_PAIRS = (Kind.PRODUCT, Kind.MATMUL, Kind.LINEAR, Kind.LINEAR_TRANSPOSED, *KEPT)
TABLE_SIZE, ENTRY_BITS = 16, 2
"""Of `Kind.DIGIT`."""
TABLE_BITS = TABLE_SIZE * ENTRY_BITS
PLACE_BITS = {Kind.PLACE_128: 7, Kind.PLACE_256: 8}
"""Of the lower digit."""
MOST_UPPER_BITS = 8
"""Of the upper one."""
PLACES = {bits: kind for kind, bits in PLACE_BITS.items()}


@dataclass(frozen=True, slots=True)
class Request:
    """One correlation.

    Attributes:
        shapes: of the factors; of a linear layer those of x [..., in] and of the weight [in, out]; of
            attention those of T new queries [..., H_kv, G, T, K], G heads for each of keys, and of all S keys
            or values [..., H_kv, S, K], the last T of which are new.
        bits: modulo 2^bits; 1 for bits that are XOR-shared alone; of an index all of its bits.
        weight: name of the weight, for a linear layer; of the layer, for attention.
    """

    kind: Kind
    shapes: tuple[Shape, ...]
    bits: int
    weight: str = ""

    def __post_init__(self) -> None:
        assert len(self.shapes) == (2 if self.kind in _PAIRS else 1), (
            f"{self.kind}: {len(self.shapes)} shapes"
        )

    @property
    def elements(self) -> int:
        """Of the first factor; of attention those of queries or weights, whichever are more."""
        if self.kind in KEPT:
            *rows, width = self.shapes[0]
            return math.prod(rows) * max(width, self.shapes[1][-2])
        return math.prod(self.shapes[0])

    @property
    def result_shape(self) -> Shape:
        """Of a product."""
        match self.kind:
            case Kind.MATMUL | Kind.LINEAR:
                return matmul_shape(*self.shapes)
            case Kind.LINEAR_TRANSPOSED:
                return matmul_shape(self.shapes[0], self.shapes[1][::-1])
            case Kind.PRODUCT:
                return broadcast_shape(*self.shapes)
            case _:
                return self.shapes[0]


Parts = tuple[torch.Tensor, ...]


class Correlations(ABC):
    """Hands out this party's part of each correlation, exactly once, in the same order at both parties.

    What `take` returns, by kind, n being the request's elements:

        PRODUCT, MATMUL   a, b, and their product
        SQUARE            r, r^2
        LINEAR            the server: its share; the client: a, and its share
        SCORES, MIX       s [..., H_kv, G, T, K] or [..., T, S], r of the new rows [..., H_kv, T, K], and the
                          product [..., T, S] or [..., T, K]; of what a causal row does not see, anything
        WRAP              this party's bits [n], and its share of the products [n]
        SELECT            the bit's XOR share, its additive share, the number's share, the product's share
        BIT               the XOR share, the additive share
        AND               XOR shares of a, b and a & b: 0 or 1, uint8 [n]
        DIGIT             the server: tables int32 [n], entry 0 in the lowest bits; the client: which entry,
                          and it, uint8 [n] each
        PLACE             the index's share; its digits' rows, int64 [n, words] each, entry v in bit v % 64 of
                          word v // 64
        TRANSFER          as the sender both masks; as the receiver which mask, 0 or 1, and it: 64 bits each
    """

    @abstractmethod
    def hold(self, name: str, weight: torch.Tensor | None, shape: Shape) -> None:
        """The server's weight of that name, as signed integers; None at the client."""

    @abstractmethod
    def announce(self, requests: Iterable[Request]) -> None:
        """What will be taken next, in order, so that it can be made together."""

    @abstractmethod
    def take(self, request: Request) -> Parts:
        """The next correlation.

        Raises:
            CorrelationExhausted: another one was announced.
        """
