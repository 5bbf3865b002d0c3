"""Ring elements of any width from 1 to 64 bits, packed end to end.

Element i of `bits` bits occupies bits [i * bits, (i + 1) * bits) of one little-endian number, which takes
exactly ceil(elements * bits / 8) bytes; what is left of the last byte is zero. This module loads numba.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from parties.compiled import compiled
from parties.documents import Buffer
from parties.errors import MalformedFrame

U = TypeVar("U", bound=np.unsignedinteger[Any])

_COPIED_BYTES = 1 << 14
"""So few bytes are copied whole: another call costs more."""
_ALL_ONES = 0xFFFFFFFFFFFFFFFF


def pack_words(values: NDArray[np.uint64], bits: int) -> NDArray[np.uint8]:
    """The low `bits` (1 to 64) bits of each word, packed; higher bits are ignored.

    Args:
        values: words of any shape, taken in C order.
        bits: width of an element in the result.

    Returns:
        ceil(values.size * bits / 8) fresh bytes.
    """
    return pack_elements(values, bits)


def unpack_words(buffer: Buffer, bits: int, count: int) -> NDArray[np.uint64]:
    """What `pack_words` packed, as `count` 64-bit words below 2**bits; a fresh, writable array.

    Raises:
        MalformedFrame: the buffer is not ceil(count * bits / 8) bytes long, or its padding is not zero.
    """
    return unpack_elements(buffer, bits, count, np.dtype(np.uint64))


def pack_elements(values: NDArray[np.unsignedinteger[Any]], bits: int) -> NDArray[np.uint8]:
    """As `pack_words`, for unsigned integers of any type that holds `bits` bits."""
    assert 1 <= bits <= 8 * values.itemsize, f"{values.dtype} does not hold {bits} bits"
    if bits == 1 and values.itemsize == 1:
        return np.packbits(values & np.uint8(1), bitorder="little")
    words = np.empty((values.size * bits + 63) // 64, np.uint64)
    _pack(np.ascontiguousarray(values).reshape(-1), bits, words)
    return words.view(np.uint8)[: _packed_bytes(values.size, bits)]


def unpack_elements(buffer: Buffer, bits: int, count: int, kind: np.dtype[U]) -> NDArray[U]:
    """As `unpack_words`, as unsigned integers of any type that holds `bits` bits."""
    out = np.empty(count, kind)
    unpack_into(buffer, bits, out)
    return out


def unpack_into(buffer: Buffer, bits: int, out: NDArray[np.unsignedinteger[Any]]) -> None:
    """As `unpack_elements`, into a contiguous array of as many elements as there are."""
    count, kind = out.size, out.dtype
    assert 1 <= bits <= 8 * kind.itemsize, f"{kind} does not hold {bits} bits"
    expected = _packed_bytes(count, bits)
    if len(buffer) != expected:
        raise MalformedFrame(f"expected {expected} bytes, got {len(buffer)}")
    raw = np.frombuffer(buffer, np.uint8)
    used_in_last = count * bits % 8
    if used_in_last and raw[-1] >> used_in_last:
        raise MalformedFrame("padding bits are not zero")
    if bits == 1:
        out[:] = np.unpackbits(raw, count=count, bitorder="little")
        return
    _unpack_bytes(raw, bits, out)


def _unpack_bytes(raw: NDArray[np.uint8], bits: int, out: NDArray[U]) -> None:
    """Fills `out` from bytes of the right length."""
    # An element is read from two whole words: those at the end from a copy that has room behind it.
    if len(raw) <= _COPIED_BYTES:
        room = np.zeros(len(raw) // 8 + 2, np.uint64)
        room.view(np.uint8)[: len(raw)] = raw
        room.flags.writeable = False
        _unpack(room, 0, bits, out)
        return
    before_last = max(0, len(raw) // 8 - 1)
    direct = min(out.size, (64 * before_last + bits - 1) // bits)
    if direct:
        _unpack(_words(raw[: 8 * (before_last + 1)]), 0, bits, out[:direct])
    last = raw[8 * before_last :]
    padded = np.zeros(8 * (len(last) // 8 + 2), np.uint8)
    padded[: len(last)] = last
    _unpack(_words(padded), direct * bits - 64 * before_last, bits, out[direct:])


def _packed_bytes(count: int, bits: int) -> int:
    return (count * bits + 7) // 8


def _words(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Bytes as aligned words that cannot be written, whatever they were: one type to compile for."""
    words = raw.view(np.uint64)
    if not words.flags.aligned:
        words = words.copy()
    words.flags.writeable = False
    return words


@compiled
def _pack(values: NDArray[np.unsignedinteger[Any]], bits: int, words: NDArray[np.uint64]) -> None:
    """Every element is written into the word under way; each 64 bits the next one starts."""
    width = np.uint64(bits)
    mask = np.uint64(_ALL_ONES) >> (np.uint64(64) - width)
    word, filled, index = np.uint64(0), np.uint64(0), 0
    for i in range(values.size):
        value = np.uint64(values[i]) & mask
        word |= value << filled
        words[index] = word
        filled += width
        if filled >= np.uint64(64):
            filled -= np.uint64(64)
            index += 1
            word = (value >> np.uint64(1)) >> (width - np.uint64(1) - filled)  # shifts stay below 64
    if filled:
        words[index] = word


@compiled
def _unpack(words: NDArray[np.uint64], start: int, bits: int, out: NDArray[np.unsignedinteger[Any]]) -> None:
    """Fills `out` from bit `start` on; the word behind the one in which an element starts must exist."""
    width = np.uint64(bits)
    mask = np.uint64(_ALL_ONES) >> (np.uint64(64) - width)
    position = np.uint64(start)
    for i in range(out.size):
        index, shift = position >> np.uint64(6), position & np.uint64(63)
        low = words[index] >> shift
        high = (words[index + np.uint64(1)] << np.uint64(1)) << (np.uint64(63) - shift)
        out[i] = (low | high) & mask
        position += width
