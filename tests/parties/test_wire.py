"""The wire format: round trips at every width, and bytes that are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parties.documents import to_bytes
from parties.errors import MalformedFrame
from parties.randomness import InsecureTestRandom
from parties.wire import MAX_HEADER_BYTES, Frame, Spec, decode, encode, expected, pack, unpack

SHAPES = st.lists(st.integers(0, 9), max_size=4).map(tuple)
HEADER: list[Any] = [b"session", 3, "layer0.attn", 2, [[64, 2, 3], [1, 9]]]


@given(bits=st.integers(1, 64), shape=SHAPES, seed=st.integers(0, 1 << 32))
def test_pack_and_unpack(bits: int, shape: tuple[int, ...], seed: int) -> None:
    array, spec = InsecureTestRandom(seed).ring(shape, bits), Spec(bits, shape)
    packed = pack(array, bits)
    assert len(packed) == spec.packed_bytes
    back = unpack(bytes(packed), spec)
    assert (back.dtype, back.shape) == (spec.dtype, shape)
    assert np.array_equal(back, array)
    back += np.ones_like(back)  # writable, and nobody else's
    assert np.array_equal(unpack(bytes(packed), spec), array)


@pytest.mark.parametrize("bits", range(1, 65))
@pytest.mark.parametrize("elements", [4095, 4096, 4097, 10_001])
def test_pack_across_chunks(bits: int, elements: int) -> None:
    array, spec = InsecureTestRandom(bits).ring((elements,), bits), Spec(bits, (elements,))
    assert np.array_equal(unpack(bytes(pack(array, bits)), spec), array)


@pytest.mark.parametrize("bits", range(1, 65))
def test_the_layout_is_one_little_endian_number(bits: int) -> None:
    array = InsecureTestRandom(bits).ring((13,), bits)
    number = sum(int(value) << (index * bits) for index, value in enumerate(array))
    assert bytes(pack(array, bits)) == number.to_bytes((13 * bits + 7) // 8, "little")


def test_pack_takes_arrays_that_are_not_contiguous() -> None:
    array = InsecureTestRandom(1).ring((8, 6), 64)
    for view in (array.T, array[::2], array[:, 1:4]):
        assert np.array_equal(unpack(bytes(pack(view, 64)), Spec(64, view.shape)), view)


def test_pack_refuses_another_type() -> None:
    with pytest.raises(AssertionError):
        pack(np.zeros(3, np.uint32), 64)


@pytest.mark.parametrize("bits", [1, 2, 3, 13, 37, 63])
def test_padding_must_be_zero(bits: int) -> None:
    raw = bytearray(Spec(bits, (3,)).packed_bytes)
    assert not unpack(bytes(raw), Spec(bits, (3,))).any()
    raw[-1] = 0x80
    with pytest.raises(MalformedFrame, match="padding"):
        unpack(bytes(raw), Spec(bits, (3,)))


@pytest.mark.parametrize("length", [0, 23, 25])
def test_unpack_refuses_another_length(length: int) -> None:
    with pytest.raises(MalformedFrame, match="expected 24 bytes"):
        unpack(bytes(length), Spec(64, (3,)))


@pytest.mark.parametrize("shape", [[2**61], [2**61] * 7000, [2**40] * 33, [1] * 33, [2**61, 0]])
def test_a_header_announces_no_array_without_end(shape: list[int]) -> None:
    """Nor does the error print how long it would be: Python does not print numbers of so many digits."""
    header = to_bytes([b"session", 3, "layer0.attn", 2, [[64, *shape]]])
    with pytest.raises(MalformedFrame, match=r"no such array|no header|announces 1 arrays"):
        decode([header])
    with pytest.raises(MalformedFrame):
        decode([header, b"x"])


def test_a_message_without_parts_is_not_the_one_expected() -> None:
    assert expected([], b"session", 3, "layer0.attn", ()) is None


@pytest.mark.parametrize(("bits", "shape"), [(0, (1,)), (65, (1,)), (8, (-1,)), (-3, ())])
def test_no_such_array(bits: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(MalformedFrame, match="no such array"):
        Spec(bits, shape)


@given(
    session=st.binary(max_size=16),
    sequence=st.integers(0, 1 << 61),
    label=st.text(max_size=30),
    depth=st.integers(0, 1 << 40),
    arrays=st.lists(st.tuples(st.integers(1, 64), SHAPES), max_size=3),
)
def test_frames(
    session: bytes, sequence: int, label: str, depth: int, arrays: list[tuple[int, tuple[int, ...]]]
) -> None:
    specs = tuple(Spec(bits, shape) for bits, shape in arrays)
    payload = tuple(bytes(spec.packed_bytes) for spec in specs)
    frame = Frame(session, sequence, label, depth, specs, payload)
    assert decode([bytes(part) for part in encode(frame)]) == frame


@given(parts=st.lists(st.binary(max_size=40), max_size=4))
def test_garbage_is_malformed(parts: list[bytes]) -> None:
    with pytest.raises(MalformedFrame):
        decode([b"\xc1", *parts])  # 0xc1 is no msgpack


@given(raw=st.binary(max_size=200))
def test_any_header_is_a_frame_or_malformed(raw: bytes) -> None:
    try:
        decode([raw])
    except MalformedFrame:
        return
    assert isinstance(msgpack.unpackb(raw), list)


@pytest.mark.parametrize(
    "header",
    [
        HEADER[:4],
        [*HEADER, 0],
        {"session": b""},
        ["text", *HEADER[1:]],
        [b"", -1, *HEADER[2:]],
        [b"", True, *HEADER[2:]],
        [b"", 1.0, *HEADER[2:]],
        [b"", 1 << 63, *HEADER[2:]],
        [b"", 0, b"label", *HEADER[3:]],
        [b"", 0, "x", None, HEADER[4]],
        [b"", 0, "x", 1, "specs"],
        [b"", 0, "x", 1, [7, 8]],
        [b"", 0, "x", 1, [[]]],
        [b"", 0, "x", 1, [[64, -1], [1, 9]]],
        [b"", 0, "x", 1, [[65, 2], [1, 9]]],
        [b"", 0, "x", 1, [[64, 2.0], [1, 9]]],
        [b"", 0, "x", 1, [[64, 1 << 61, 1 << 61], [1, 9]]],
    ],
)
def test_headers_that_are_none(header: object) -> None:
    with pytest.raises(MalformedFrame):
        decode([msgpack.packb(header), bytes(48), bytes(2)])


@pytest.mark.parametrize("payload", [[], [48], [48, 2, 0], [47, 2], [48, 3], [2, 48]])
def test_payloads_that_do_not_fit_the_header(payload: list[int]) -> None:
    with pytest.raises(MalformedFrame):
        decode([msgpack.packb(HEADER), *map(bytes, payload)])


def test_a_sound_frame_is_not_refused() -> None:
    assert decode([msgpack.packb(HEADER), bytes(48), bytes(2)]).payload_bytes == 50


def test_no_or_too_long_a_header() -> None:
    for parts in ([], [bytes(MAX_HEADER_BYTES + 1)]):
        with pytest.raises(MalformedFrame, match="no header"):
            decode(parts)


def test_a_bomb_of_nested_lists() -> None:
    with pytest.raises(MalformedFrame):
        decode([b"\x91" * 60_000])


LONG = Frame(
    b"session", 3, "layer0.attn/open", 2, (Spec(64, (2, 3)), Spec(1, (9,))), (b"x" * 48, b"\x01\x00")
)


@pytest.mark.parametrize("depth", [0, 1, 127, 128, 70_000])
def test_what_is_expected_needs_no_decoding(depth: int) -> None:
    frame = dataclasses.replace(LONG, depth=depth)
    parts = encode(frame)
    assert expected(parts, b"session", 3, "layer0.attn/open", frame.specs) == frame == decode(parts)


@pytest.mark.parametrize(
    "other",
    [
        {"session": b"sessioN"},
        {"sequence": 4},
        {"label": "layer0.attn/hold"},
        {"specs": (Spec(64, (2, 3)), Spec(1, (8,)))},
        {"specs": (Spec(64, (2, 3)),)},
    ],
)
def test_what_is_not_expected_is_left_to_decoding(other: dict[str, Any]) -> None:
    asked = {"session": b"session", "sequence": 3, "label": LONG.label, "specs": LONG.specs} | other
    assert expected(encode(LONG), **asked) is None


@pytest.mark.parametrize("depth", [True, -1, "1", 1.0, [1], None])
def test_a_depth_that_is_no_count_is_left_to_decoding(depth: object) -> None:
    header = [LONG.session, LONG.sequence, LONG.label, depth, [[s.bits, *s.shape] for s in LONG.specs]]
    parts = [to_bytes(header), *LONG.payload]
    assert expected(parts, LONG.session, LONG.sequence, LONG.label, LONG.specs) is None


def test_arrays_of_another_length_are_left_to_decoding() -> None:
    parts = encode(LONG)
    for changed in ([parts[0], parts[1]], [*parts, b""], [parts[0], parts[1], b"\x01"]):
        assert expected(changed, LONG.session, LONG.sequence, LONG.label, LONG.specs) is None
