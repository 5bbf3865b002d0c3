"""Bytes on the wire: a msgpack header, then one packed little-endian buffer an array.

An array of ring elements is a NumPy array of the smallest unsigned type that holds its width: 1 to 8 bits
uint8, to 16 uint16, to 32 uint32, to 64 uint64. On the wire it takes exactly ceil(elements * bits / 8) bytes.
Nothing here is ever unpickled or evaluated; every length is checked before an array is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from parties.documents import Buffer, from_bytes, to_bytes
from parties.errors import MalformedFrame

RingArray = NDArray[np.unsignedinteger[Any]]
MAX_HEADER_BYTES = 1 << 16
MOST_DIMENSIONS = 32
_MOST_BITS = 1 << 62
"""Of one array: nobody computes with, or prints, a number without end."""
_HEADER_FIELDS = 5
_LIST = to_bytes([None] * _HEADER_FIELDS)[:1]
_DTYPES = tuple(np.dtype(f"<u{size}") for size in (1, 2, 4, 4, 8, 8, 8, 8))  # by bytes that are needed


@dataclass(frozen=True, slots=True)
class Spec:
    """What one array of a frame looks like: ring width in bits (1 to 64) and shape.

    Attributes:
        elements: how many there are.
        packed_bytes: length on the wire.
        dtype: the NumPy type that holds an element.
    """

    bits: int
    shape: tuple[int, ...]
    elements: int = field(init=False, repr=False, compare=False)
    packed_bytes: int = field(init=False, repr=False, compare=False)
    dtype: np.dtype[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 64 or any(length < 0 for length in self.shape):
            raise MalformedFrame(f"no such array: {self.bits} bits, shape {self.shape}")
        if len(self.shape) > MOST_DIMENSIONS:
            raise MalformedFrame(f"no such array: {len(self.shape)} dimensions, at most {MOST_DIMENSIONS}")
        elements = math.prod(self.shape)
        if elements * self.bits > _MOST_BITS:
            raise MalformedFrame(f"no such array: {self.bits} bits, shape {self.shape}")
        object.__setattr__(self, "elements", elements)
        object.__setattr__(self, "packed_bytes", (elements * self.bits + 7) // 8)
        object.__setattr__(self, "dtype", _DTYPES[(self.bits - 1) // 8])


@lru_cache(maxsize=1 << 14)
def spec_of(bits: int, shape: tuple[int, ...]) -> Spec:
    """`Spec(bits, shape)`, made once: passes use the same few over and over. Not for what a peer sends."""
    return Spec(bits, shape)


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: who it belongs to, what it is, and its packed arrays.

    Attributes:
        session: the session id both parties agreed on, empty during the handshake.
        sequence: 0, 1, 2, ... a direction.
        label: what the sender was doing, as a dotted path.
        depth: 1 + the largest depth the sender had received.
        specs: width and shape of each array.
        payload: each array's packed bytes.
    """

    session: bytes
    sequence: int
    label: str
    depth: int
    specs: tuple[Spec, ...]
    payload: tuple[Buffer, ...]

    @property
    def payload_bytes(self) -> int:
        return sum(len(buffer) for buffer in self.payload)


def encode(frame: Frame) -> list[Buffer]:
    """The frame as message parts: header first, then a part an array."""
    before, after = _around_depth(frame.session, frame.sequence, frame.label, frame.specs)
    return [before + to_bytes(frame.depth) + after, *frame.payload]


def expected(
    parts: Sequence[Buffer], session: bytes, sequence: int, label: str, specs: tuple[Spec, ...]
) -> Frame | None:
    """The frame in message parts if it is exactly the one expected; None where `decode` has to look."""
    if not parts:
        return None
    before, after = _around_depth(session, sequence, label, specs)
    header, payload = bytes(parts[0]), tuple(parts[1:])
    end = len(header) - len(after)
    if end <= len(before) or not (header.startswith(before) and header.endswith(after)):
        return None
    if [len(buffer) for buffer in payload] != [spec.packed_bytes for spec in specs]:
        return None
    try:
        depth = from_bytes(header[len(before) : end], MAX_HEADER_BYTES)
    except MalformedFrame:
        return None
    return Frame(session, sequence, label, cast(int, depth), specs, payload) if _is_count(depth) else None


def _around_depth(session: bytes, sequence: int, label: str, specs: tuple[Spec, ...]) -> tuple[bytes, bytes]:
    """The header of a frame up to its depth, and from there on."""
    return _LIST + to_bytes(session) + to_bytes(sequence) + _label_bytes(label), _specs_bytes(specs)


@lru_cache(maxsize=1 << 14)
def _label_bytes(label: str) -> bytes:
    return to_bytes(label)


@lru_cache(maxsize=1 << 14)
def _specs_bytes(specs: tuple[Spec, ...]) -> bytes:
    return to_bytes([[spec.bits, *spec.shape] for spec in specs])


def decode(parts: Sequence[Buffer]) -> Frame:
    """The frame in message parts.

    Raises:
        MalformedFrame: not a header, or buffers whose number or length is not what the header says.
    """
    if not parts or len(parts[0]) > MAX_HEADER_BYTES:
        raise MalformedFrame(f"no header, or one over {MAX_HEADER_BYTES} bytes")
    session, sequence, label, depth, specs = _header(parts[0])
    payload = tuple(parts[1:])
    if len(payload) != len(specs):
        raise MalformedFrame(f"{label!r}: header announces {len(specs)} arrays, {len(payload)} arrived")
    for spec, buffer in zip(specs, payload, strict=True):
        if len(buffer) != spec.packed_bytes:
            raise MalformedFrame(f"{label!r}: expected {spec.packed_bytes} bytes, got {len(buffer)}")
    return Frame(session, sequence, label, depth, specs, payload)


def _header(raw: Buffer) -> tuple[bytes, int, str, int, tuple[Spec, ...]]:
    """Fields of a header, each of the right type."""
    fields = from_bytes(raw, MAX_HEADER_BYTES)
    if not isinstance(fields, list) or len(cast(list[object], fields)) != _HEADER_FIELDS:
        raise MalformedFrame(f"header is not a list of {_HEADER_FIELDS} fields")
    session, sequence, label, depth, specs = cast(list[object], fields)
    if not (isinstance(session, bytes) and isinstance(label, str) and isinstance(specs, list)):
        raise MalformedFrame("header fields have the wrong types")
    if not (_is_count(sequence) and _is_count(depth)):
        raise MalformedFrame("sequence and depth must be counts")
    return session, cast(int, sequence), label, cast(int, depth), _specs(cast(list[object], specs))


def _specs(items: list[object]) -> tuple[Spec, ...]:
    """Widths and shapes of a header."""
    specs: list[Spec] = []
    for item in items:
        if not isinstance(item, list) or not item or not all(_is_count(n) for n in cast(list[object], item)):
            raise MalformedFrame("an array's width and shape must be counts")
        bits, *shape = cast(list[int], item)
        specs.append(Spec(bits, tuple(shape)))
    return tuple(specs)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def pack(array: RingArray, bits: int) -> Buffer:
    """The low `bits` of unsigned integers, of a type that holds as many, as packed little-endian bytes.

    At the full width of its type the result is a view of the array, not a copy.
    """
    assert array.dtype.kind == "u", f"ring elements are unsigned, got {array.dtype}"
    flat = np.ascontiguousarray(array).reshape(-1)
    if not flat.size:
        return b""
    if bits == 8 * array.dtype.itemsize:
        return flat.view(np.uint8).data
    from parties.packing import pack_elements

    return pack_elements(flat, bits).data


def unpack(buffer: Buffer, spec: Spec) -> RingArray:
    """The array in packed bytes; a fresh, writable array. Bits of padding must be zero.

    Raises:
        MalformedFrame: wrong length, or padding that is not zero.
    """
    if len(buffer) != spec.packed_bytes:
        raise MalformedFrame(f"expected {spec.packed_bytes} bytes, got {len(buffer)}")
    if spec.bits == 8 * spec.dtype.itemsize:
        return np.frombuffer(buffer, spec.dtype).reshape(spec.shape).copy()
    from parties.packing import unpack_elements

    return unpack_elements(buffer, spec.bits, spec.elements, spec.dtype).reshape(spec.shape)
