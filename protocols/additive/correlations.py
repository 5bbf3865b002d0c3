"""Correlated randomness: what can be asked of a dealer, and how a party and the dealer derive it.

Additive or XOR shares of random values with a known relation (Beaver triples and their like). Each party
draws its shares from its own stream; the dealer, who knows both seeds, sends the *server* alone the part
that makes the relation hold. The client never receives more than its 16-byte seed. A request is a plain
value, so that a whole forward pass can be announced to the dealer before it starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import torch

from parties.errors import PeerMismatch
from parties.randomness import AesCtrStream, Randomness
from parties.wire import Spec
from protocols.arithmetic.bits import from_slice, slice_bytes, squeeze, squeezed_bytes
from protocols.arithmetic.carry import MAX_BLOCKS, MAX_WORD_BITS, Level, leaf_level, node_level
from protocols.arithmetic.shapes import Shape, broadcast_shape, matmul_shape
from protocols.kernels.ring_products import ring_bmm, ring_matmul, ring_matmul_transposed
from protocols.seeding import derive_key, weight_stream
from protocols.tensors import drawn, from_wire

MAX_ELEMENTS = 1 << 27
"""No tensor of a request is larger: 1 GiB of ring elements."""
MAX_BITS = 64 * MAX_ELEMENTS
MAX_AXES = 8
ELEMENT_BYTES = 8


class Kind(StrEnum):
    """A relation, by the name that the opening which spends it carries on the wire."""

    MUL = "beaver.mul"
    """Random a, b and a * b, broadcasting."""
    MATMUL = "beaver.matmul"
    """Random a, b and their batched matrix product."""
    SQUARE = "beaver.square"
    """Random r and r^2."""
    AND = "and"
    """Random 64-bit words a, b and a & b, XOR-shared."""
    BIT = "b2a"
    """A random bit, XOR-shared and additively shared."""
    LINEAR = "linear"
    """Random a, and a times a weight's mask, which stays the same for a session."""
    LINEAR_TRANSPOSED = "linear.transposed"
    """Random a, and a times the transpose of a weight's mask."""
    TRUNCATION = "truncate"
    """Random r, r >> bits (unsigned), and the top bit of r times 2^(64 - bits)."""
    CARRY_LEAF = "carry.leaf"
    """Random bits that the server, others that the client alone knows, and products of both, XOR-shared."""
    CARRY_NODE = "carry.node"
    """Random bits and products of them, XOR-shared."""
    PACKED_BIT = "b2a.packed"
    """As BIT, with the XOR shares packed eight to a byte."""


_LINEAR = (Kind.LINEAR, Kind.LINEAR_TRANSPOSED)
_CARRY = (Kind.CARRY_LEAF, Kind.CARRY_NODE)
_ONE_SHAPE = (Kind.SQUARE, Kind.BIT, Kind.TRUNCATION, Kind.PACKED_BIT, *_CARRY)
_BITS: dict[Kind, range] = {
    Kind.TRUNCATION: range(1, 63),
    Kind.CARRY_LEAF: range(1, MAX_WORD_BITS + 1),
    Kind.CARRY_NODE: range(2, MAX_BLOCKS + 1),
}
_XOR_MASKS = (Kind.AND, Kind.BIT, Kind.CARRY_NODE, Kind.PACKED_BIT)
_XOR_RESULTS = (Kind.AND, *_CARRY)


@dataclass(frozen=True, slots=True)
class Request:
    """One correlation.

    Attributes:
        shapes: of the random factors; for a linear layer those of x [..., in] and of the weight [in, out].
        weight: name of the weight, for a linear layer.
        bits: fraction bits to drop, 1 to 62, for a truncation; bits of the words that leaves add, 1 to 63;
            blocks that enter a level of nodes, 2 to 32.

    Raises:
        PeerMismatch: shapes that do not fit each other, or over `MAX_ELEMENTS`.
    """

    kind: Kind
    shapes: tuple[Shape, ...]
    weight: str = ""
    bits: int = 0

    def __post_init__(self) -> None:
        if len(self.shapes) != (1 if self.kind in _ONE_SHAPE else 2):
            raise PeerMismatch(f"{self.kind}: got {len(self.shapes)} shapes")
        for shape in (*self.shapes, self.result_shape):
            if len(shape) > MAX_AXES or any(n < 0 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
                raise PeerMismatch(f"{self.kind}: a tensor of shape {list(shape)} is over the limits")
        if (self.kind in _LINEAR) != bool(self.weight):
            raise PeerMismatch(f"{self.kind}: weight name {self.weight!r}")
        if self.bits not in _BITS.get(self.kind, range(1)):
            raise PeerMismatch(f"{self.kind}: no such correlation of {self.bits} bits")
        if max(self.mask_slices * math.prod(self.shapes[0]), 8 * self.offline_bytes_to_server) > MAX_BITS:
            raise PeerMismatch(f"{self.kind}: a tensor of shape {list(self.shapes[0])} is over the limits")

    @property
    def mask_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the fresh random factors, which mask what is opened."""
        return self.shapes[:1] if self.kind in _LINEAR else self.shapes

    @property
    def result_shape(self) -> Shape:
        """Shape of what the dealer computes from the factors."""
        if self.kind is Kind.MATMUL:
            return matmul_shape(*self.shapes)
        if self.kind is Kind.LINEAR:
            return matmul_shape(*self.shapes)
        if self.kind is Kind.LINEAR_TRANSPOSED:
            return matmul_shape(self.shapes[0], self.shapes[1][::-1])
        if len(self.shapes) == 1:
            return self.shapes[0]
        return broadcast_shape(*self.shapes)

    @property
    def level(self) -> Level:
        """The gates that a carry correlation is for."""
        return leaf_level(self.bits) if self.kind is Kind.CARRY_LEAF else node_level(self.bits)

    @property
    def mask_slices(self) -> int:
        """How many bits an element the masks have, where they are packed as slices; otherwise 0."""
        if self.kind is Kind.PACKED_BIT:
            return 1
        return self.level.opened if self.kind in _CARRY else 0

    @property
    def result_specs(self) -> tuple[Spec, ...]:
        """What the dealer sends, array by array."""
        if self.kind in _CARRY:
            return (Spec(8, (squeezed_bytes(self.level.products, math.prod(self.result_shape)),)),)
        return (Spec(8 * ELEMENT_BYTES, self.result_shape),) * (2 if self.kind is Kind.TRUNCATION else 1)

    @property
    def offline_bytes_to_server(self) -> int:
        """What the dealer sends to the server; nothing goes to the client."""
        return sum(spec.packed_bytes for spec in self.result_specs)

    def to_plain(self) -> list[object]:
        """The request as msgpack can carry it."""
        return [str(self.kind), [list(shape) for shape in self.shapes], self.weight, self.bits]

    @classmethod
    def from_plain(cls, value: object) -> Request:
        """A request that a peer sent; raises PeerMismatch for anything that is none."""
        fields = cast(list[Any], value) if isinstance(value, list) else []
        if len(fields) != 4 or not isinstance(fields[1], list):
            raise PeerMismatch("a request is a list of kind, shapes, weight and bits")
        kind, shapes, weight, bits = fields
        if kind not in [str(known) for known in Kind] or not isinstance(weight, str) or len(weight) > 256:
            raise PeerMismatch(f"no such correlation: {str(kind)[:40]!r}")
        if type(bits) is not int or not all(_is_shape(shape) for shape in cast(list[object], shapes)):
            raise PeerMismatch(f"{kind}: shapes and bits must be counts")
        return cls(Kind(kind), tuple(tuple(shape) for shape in shapes), weight, bits)


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int for n in cast(list[object], value))


def words(stream: Randomness, shape: Shape, bits: int = 64) -> torch.Tensor:
    """Uniform integers of `bits` bits from a stream, as int64."""
    return drawn(stream, shape, bits)


class Stream:
    """One party's part of all correlations of a session, in the order in which they are asked for.

    Args:
        seed: 16 uniform bytes that only this party and the dealer know.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._words = AesCtrStream(derive_key(seed, "correlations"))

    def masks(self, request: Request) -> list[torch.Tensor]:
        """This party's shares of the random factors."""
        if request.mask_slices:
            shape = (request.mask_slices, slice_bytes(math.prod(request.shapes[0])))
            return [from_wire(self._words.uint8(shape), 8)]
        bits = 1 if request.kind is Kind.BIT else 64
        return [words(self._words, shape, bits) for shape in request.mask_shapes]

    def results(self, request: Request) -> list[torch.Tensor]:
        """The client's shares of what the dealer computes; drawn after `masks` of the same request."""
        specs = request.result_specs
        return [from_wire(self._words.ring(spec.shape, spec.bits), spec.bits) for spec in specs]

    def weight_mask(self, name: str, shape: Shape) -> torch.Tensor:
        """The mask of a weight: the server's stream alone makes it; the same whenever it is asked for."""
        return words(weight_stream(self._seed, name, shape), shape)


WeightMask = Callable[[str, Shape], torch.Tensor]


def corrections(
    request: Request, server_masks: Sequence[torch.Tensor], client: Stream, mask: WeightMask
) -> list[torch.Tensor]:
    """The dealer's step: the server's shares of the results, given its masks and the client's stream.

    1. Draw the client's shares of the factors; combine them with the server's.
    2. Compute the results.
    3. Subtract (XOR for binary words) the client's shares of them.
    """
    known = _known(request, server_masks, client.masks(request), mask)
    theirs = client.results(request)
    if request.kind in _XOR_RESULTS:
        return [value.bitwise_xor_(share) for value, share in zip(known, theirs, strict=True)]
    return [value.sub_(share) for value, share in zip(known, theirs, strict=True)]


def _known(
    request: Request, ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], mask: WeightMask
) -> list[torch.Tensor]:
    """The results, of both parties' masks; overwrites the client's."""
    if request.kind is Kind.CARRY_LEAF:
        return _results(request, [ours[0], theirs[0]], mask)
    pairs = zip(ours, theirs, strict=True)
    factors = [b.bitwise_xor_(a) if request.kind in _XOR_MASKS else b.add_(a) for a, b in pairs]
    return _results(request, factors, mask)


def _carry_products(request: Request, masks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Products of packed bits, as they go on the wire."""
    slices = request.level.deal([mask.numpy() for mask in masks])
    return from_wire(squeeze(slices, math.prod(request.shapes[0])), 8)


def _results(request: Request, factors: Sequence[torch.Tensor], mask: WeightMask) -> list[torch.Tensor]:
    first = factors[0]
    match request.kind:
        case Kind.MUL:
            return [first * factors[1]]
        case Kind.MATMUL:
            return [ring_bmm(first, factors[1])]
        case Kind.SQUARE:
            return [first * first]
        case Kind.AND:
            return [first & factors[1]]
        case Kind.BIT:
            return [first]
        case Kind.LINEAR:
            return [ring_matmul(first, mask(request.weight, request.shapes[1]))]
        case Kind.LINEAR_TRANSPOSED:
            return [ring_matmul_transposed(first, mask(request.weight, request.shapes[1]))]
        case Kind.CARRY_LEAF | Kind.CARRY_NODE:
            return [_carry_products(request, factors)]
        case Kind.PACKED_BIT:
            shape = request.result_shape
            return [from_slice(first[0].numpy(), math.prod(shape)).reshape(shape)]
        case Kind.TRUNCATION:
            return [shift_unsigned(first, request.bits), (first < 0).to(torch.int64) << (64 - request.bits)]


def shift_unsigned(value: torch.Tensor, bits: int) -> torch.Tensor:
    """value >> bits of int64 read as unsigned 64-bit words; 1 <= bits <= 63."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
