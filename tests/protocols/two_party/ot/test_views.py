"""What each party sees of a conversion is uniform whatever the other's input is; broken twins are found out.

A view is all that a party receives and draws: for the COTs' sender its masks and d, for the receiver its
choice, its mask and e. In small rings the joint distribution is counted. Runs are seeded, so that a test
fails always or never.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from parties.packing import unpack_words
from protocols.two_party.ot import choose, derandomised
from protocols.two_party.ot.session import TweakedHash
from tests.protocols.two_party.ot.digest import calls
from tests.protocols.two_party.ot.pair import Run, run

MANY = 6400
_LIMITS = {2: 15.1, 4: 21.1, 8: 29.9, 16: 44.3, 32: 69.1}
"""By number of cells: what uniform samples exceed once in 10,000."""


def assert_uniform(*columns: tuple[NDArray[Any], int]) -> None:
    """Columns of small numbers, each with its bits, are jointly uniform: chi-square."""
    cell, cells = np.zeros(len(columns[0][0]), np.int64), 1
    for values, bits in columns:
        cell = (cell << bits) | values.astype(np.int64) & ((1 << bits) - 1)
        cells <<= bits
    counts = np.bincount(cell, minlength=cells)
    expected = len(cell) / cells
    assert ((counts - expected) ** 2 / expected).sum() < _LIMITS[cells], counts


def words(message: bytes, bits: int, count: int) -> NDArray[np.uint64]:
    return unpack_words(memoryview(message), bits, count)


def last_messages(made: Run) -> tuple[bytes, bytes]:
    """e of the sender, d of the receiver; the sender is party 0."""
    return made.messages[0][-1], made.messages[1][-1]


def check_bit_products(a: int, b: int) -> None:
    inputs = [np.full(MANY // 8, 255 * bit, np.uint8) for bit in (a, b)]
    made = run(*(lambda ot, own=own: ot.bit_products(own, MANY) for own in inputs))
    shares = [np.unpackbits(share, bitorder="little") for share in made.results]
    assert (shares[0] ^ shares[1] == (a & b)).all()
    e, d = (words(message, 1, MANY) for message in last_messages(made))
    assert_uniform((shares[0], 1), (d, 1))
    choices = d ^ np.uint64(b)
    mask = shares[1] ^ (b & e.astype(np.uint8))
    assert_uniform((choices, 1), (mask, 1), (e, 1))


def check_values(value: int, b: int, ring: int = 2) -> None:
    values, bits = np.full(MANY, value, np.uint64), np.full(MANY, b, np.uint8)
    made = run(
        lambda ot: ot.bit_times_value(values, values.shape, ring),
        lambda ot: ot.bit_times_value(bits, values.shape, ring),
    )
    mine, theirs = made.results
    assert ((mine + theirs) % (1 << ring) == value * b % (1 << ring)).all()
    e, d = words(last_messages(made)[0], ring, MANY), words(last_messages(made)[1], 1, MANY)
    assert_uniform((mine, ring), (d, 1))
    mask = theirs - np.uint64(b) * e
    assert_uniform((d ^ np.uint64(b), 1), (mask, ring), (e, ring))


def check_dabits(ring: int = 3) -> None:
    made = run(lambda ot: ot.dabits(MANY, ring))
    (bits, values), (more_bits, more_values) = made.results
    assert np.array_equal(bits ^ more_bits, (values + more_values) % (1 << ring))
    e = words(last_messages(made)[0], ring - 1, MANY)
    product = (more_bits - more_values) >> np.uint64(1)
    mask = product - more_bits.astype(np.uint64) * e
    assert_uniform((more_bits, 1), (mask, ring - 1), (e, ring - 1))
    for own in (0, 1):  # and says nothing about the other's bit
        chosen = bits == own
        assert_uniform((more_bits[chosen], 1), (e[chosen], ring - 1))


def check_products(x: int, y: int, ring: int = 2) -> None:
    inputs = [np.full(MANY, factor, np.uint64) for factor in (x, y)]
    made = run(*(lambda ot, own=own: ot.products(own, ring) for own in inputs))
    assert ((made.results[0] + made.results[1]) % (1 << ring) == x * y % (1 << ring)).all()
    wide, narrow = made.messages[0][-2:]
    d = words(made.messages[1][-1], 1, ring * MANY).reshape(ring, MANY)
    assert_uniform((words(wide, 2, MANY), 2), (words(narrow, 1, MANY), 1), (d[0], 1), (d[1], 1))
    assert_uniform((made.results[0], ring), (d[0], 1), (d[1], 1))
    assert_uniform((made.results[1], ring), (words(wide, 2, MANY), 2), (words(narrow, 1, MANY), 1))


def check_triples() -> None:
    made = run(lambda ot: ot.bit_triples(MANY))
    shares = [[np.unpackbits(part, bitorder="little") for part in side] for side in made.results]
    a, b, c = (first ^ second for first, second in zip(*shares, strict=True))
    assert np.array_equal(a & b, c)
    for own in shares:
        assert_uniform((own[0], 1), (own[1], 1), (own[2], 1), (a, 1), (b, 1))


def check_chosen(options: int = 4, bits: int = 2, choice: int = 2) -> None:
    messages = np.tile(np.arange(options, dtype=np.uint64), (MANY, 1))
    made = run(
        lambda ot: ot.send_chosen(messages, bits),
        lambda ot: ot.receive_chosen(np.full(MANY, choice, np.uint64), options, bits),
    )
    assert (made.results[1] == choice).all()
    sent, d = (
        words(last_messages(made)[0], bits, options * MANY).reshape(MANY, options),
        last_messages(made)[1],
    )
    assert_uniform((words(d, 2, MANY), 2))
    keys = sent ^ messages
    for first in range(options):
        for second in range(first):
            assert_uniform((keys[:, first], bits), (keys[:, second], bits))
    assert_uniform((np.bitwise_xor.reduce(keys, axis=1), bits))


CHECKS: dict[str, list[Callable[[], None]]] = {
    "bit products": [lambda a=a, b=b: check_bit_products(a, b) for a in (0, 1) for b in (0, 1)],
    "values": [lambda v=v, b=b: check_values(v, b) for v in range(4) for b in (0, 1)],
    "daBits": [check_dabits],
    "products": [lambda x=x, y=y: check_products(x, y) for x, y in ((0, 0), (1, 3), (3, 2), (3, 3))],
    "triples": [check_triples],
    "chosen": [check_chosen, lambda: check_chosen(choice=0)],
}


@pytest.mark.parametrize("name", CHECKS)
def test_views_are_uniform_and_shares_right(name: str) -> None:
    check_all(name)


def check_all(name: str) -> None:
    for check in CHECKS[name]:
        check()


def _without_hash(self: TweakedHash, blocks: Any, first: int, offset: Any = None) -> Any:
    """Masks are blocks: both of an OT differ by the offset, whose lowest bit is one."""
    return blocks ^ (np.uint64(0) if offset is None else offset)


def _without_offset(self: TweakedHash, blocks: Any, first: int, offset: Any = None) -> Any:
    """Both masks of an OT are the same."""
    return _HASH(self, blocks, first)


def _few_multiples(delta: Any, options: int) -> Any:
    """Multiples that repeat: keys of options that differ in the second bit alone are the same."""
    return _MULTIPLES(delta, options)[np.arange(options) & ~2]


def _unmasked(values: Any, widths: list[int]) -> Any:
    """Values are sent with their lowest bits cleared of the mask."""
    return _BY_WIDTH(values & np.uint64(2), widths)


_HASH, _OPTIONS = TweakedHash.hash, TweakedHash.options
_MULTIPLES, _BY_WIDTH = choose._multiples, derandomised._by_width
_BROKEN = {
    "bit products": (TweakedHash, "hash", _without_hash),
    "values": (TweakedHash, "hash", _without_offset),
    "daBits": (TweakedHash, "hash", _without_hash),
    "products": (derandomised, "_by_width", _unmasked),
    "triples": (TweakedHash, "hash", _without_offset),
    "chosen": (choose, "_multiples", _few_multiples),
}


@pytest.mark.parametrize("name", _BROKEN)
def test_broken_twins_are_found_out(name: str) -> None:
    place, attribute, twin = _BROKEN[name]
    with patch.object(place, attribute, twin), pytest.raises(AssertionError):
        check_all(name)


def check_tweaks() -> None:
    """No tweak is used for two OTs: a call with an offset is of the same OTs as the one before."""
    used: dict[TweakedHash, list[tuple[int, int, bytes]]] = {}

    def watched(self: TweakedHash, blocks: Any, first: int, offset: Any = None) -> Any:
        used.setdefault(self, []).append((first, first + len(blocks), blocks.tobytes()))
        return _HASH(self, blocks, first, offset)

    def watched_options(self: TweakedHash, blocks: Any, offsets: Any, first: int, bits: int) -> Any:
        used.setdefault(self, []).append((first, first + len(blocks), blocks.tobytes()))
        return _OPTIONS(self, blocks, offsets, first, bits)

    with patch.object(TweakedHash, "hash", watched), patch.object(TweakedHash, "options", watched_options):
        run(calls)
    assert len(used) == 2
    for made in used.values():
        apart = sorted(set(made))
        assert len(apart) >= 8
        assert all(one[1] <= two[0] for one, two in pairwise(apart))


def test_tweaks_never_repeat() -> None:
    check_tweaks()


def test_a_counter_that_stands_still_is_found_out() -> None:
    with patch.object(TweakedHash, "reserve", lambda self, count: 0), pytest.raises(AssertionError):
        check_tweaks()
