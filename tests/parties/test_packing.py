"""Packing at every width against one long Python integer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from parties.errors import MalformedFrame
from parties.packing import pack_elements, pack_words, unpack_elements, unpack_words
from parties.randomness import InsecureTestRandom

TYPES = (np.uint8, np.uint16, np.uint32, np.uint64)
WIDTHS = [(bits, np.dtype(kind)) for kind in TYPES for bits in range(1, 8 * np.dtype(kind).itemsize + 1)]


def slow_pack(values: NDArray[Any], bits: int) -> bytes:
    """Element i occupies bits [i * bits, (i + 1) * bits) of one little-endian number."""
    number = sum((int(value) % (1 << bits)) << (i * bits) for i, value in enumerate(values.flat))
    return number.to_bytes((values.size * bits + 7) // 8, "little")


def full_width(seed: int, shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
    """Elements that use every bit of their type."""
    return InsecureTestRandom(seed).ring(shape, 8 * kind.itemsize)


@pytest.mark.parametrize(("bits", "kind"), WIDTHS)
def test_every_width_of_every_type(bits: int, kind: np.dtype[Any]) -> None:
    values = full_width(bits, (131,), kind)
    packed = pack_elements(values, bits)
    assert packed.tobytes() == slow_pack(values, bits)
    out = unpack_elements(packed.data, bits, 131, kind)
    assert (out.dtype, out.flags.writeable) == (kind, True)
    assert np.array_equal(out, values & kind.type((1 << bits) - 1))


@given(bits=st.integers(1, 64), count=st.integers(0, 300), seed=st.integers(0, 1 << 32))
def test_words_of_any_number(bits: int, count: int, seed: int) -> None:
    values = InsecureTestRandom(seed).uint64((count,))
    packed = bytes(pack_words(values, bits))
    assert packed == slow_pack(values, bits)
    back = unpack_words(packed, bits, count)
    assert (back.dtype, back.shape) == (np.uint64, (count,))
    assert np.array_equal(back, values & np.uint64((1 << bits) - 1))
    back += np.uint64(1)  # writable


@pytest.mark.parametrize("offset", range(9))
@pytest.mark.parametrize("writable", [True, False])
def test_unpack_from_any_place_in_memory(offset: int, writable: bool) -> None:
    values = InsecureTestRandom(5).ring((1000,), 41).astype(np.uint64)
    message = bytes(offset) + bytes(pack_words(values, 41))
    buffer = memoryview(bytearray(message) if writable else message)[offset:]
    assert np.array_equal(unpack_words(buffer, 41, 1000), values)


def test_pack_takes_shapes_and_strides_in_c_order() -> None:
    values = InsecureTestRandom(6).uint64((6, 8))
    for view in (values, values.T, values[::2], values[:, 1:4]):
        assert bytes(pack_words(view, 23)) == slow_pack(view, 23)


def test_a_read_only_array_is_packed() -> None:
    values = InsecureTestRandom(7).uint64((50,))
    values.flags.writeable = False
    assert bytes(pack_words(values, 13)) == slow_pack(values, 13)


@pytest.mark.parametrize("bits", [1, 2, 7, 13, 63])
def test_padding_must_be_zero(bits: int) -> None:
    raw = bytearray((3 * bits + 7) // 8)
    assert not unpack_words(raw, bits, 3).any()
    raw[-1] |= 0x80
    with pytest.raises(MalformedFrame, match="padding"):
        unpack_words(raw, bits, 3)


@pytest.mark.parametrize("length", [0, 4, 6])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(MalformedFrame, match=f"expected 5 bytes, got {length}"):
        unpack_words(bytes(length), 13, 3)


@pytest.mark.parametrize("bits", [0, 9])
def test_a_type_too_small_is_refused(bits: int) -> None:
    with pytest.raises(AssertionError, match="does not hold"):
        pack_elements(np.zeros(3, np.uint8), bits)
    with pytest.raises(AssertionError, match="does not hold"):
        unpack_elements(bytes((3 * bits + 7) // 8), bits, 3, np.dtype(np.uint8))


def test_what_it_packed_is_fresh() -> None:
    values = InsecureTestRandom(8).uint64((4,))
    packed = pack_words(values, 64)
    packed[:] = 0
    assert values.any()
