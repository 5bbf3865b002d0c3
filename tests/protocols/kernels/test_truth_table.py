"""Truth tables differ at alpha alone, and are read as keys of the DPF are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from parties.errors import RangeError
from parties.randomness import InsecureTestRandom
from protocols.kernels.truth_table import MAX_BITS, TruthTables, share, table_bytes
from protocols.kernels.window_table import WindowTable

Words = NDArray[np.uint64]


def dealt(alpha: Words, bits: int, seed: int = 3) -> tuple[list[TruthTables], NDArray[np.int8]]:
    """Both parties' tables, party 0's first, and the signs."""
    drawn = InsecureTestRandom(seed).uint8((alpha.size * table_bytes(bits),))
    sent, signs = share(drawn, bits, alpha)
    return [TruthTables.from_bytes(bits, alpha.size, data) for data in (sent, drawn)], signs


def points(seed: int, bits: int, *shape: int) -> Words:
    return InsecureTestRandom(seed).uint64(shape) >> np.uint64(64 - bits)


def bits_of(tables: TruthTables) -> NDArray[np.uint8]:
    every = np.unpackbits(tables.words.view(np.uint8), axis=1, bitorder="little")
    return every[:, : 1 << tables.bits]


@pytest.mark.parametrize("bits", range(1, MAX_BITS + 1))
def test_bits_differ_at_alpha_alone_and_signs_say_whose_is_set(bits: int) -> None:
    alpha = np.arange(1 << bits, dtype=np.uint64)
    tables, signs = dealt(alpha, bits)
    mine, theirs = map(bits_of, tables)
    assert np.array_equal(mine ^ theirs, np.eye(1 << bits, dtype=np.uint8))
    assert np.array_equal(signs, np.where(np.diagonal(mine) == 1, 1, -1))


@pytest.mark.parametrize("bits", range(1, MAX_BITS + 1))
def test_prefix_parities_compare(bits: int) -> None:
    every = np.arange(1 << bits, dtype=np.uint64)
    tables, _ = dealt(every, bits)
    x = np.repeat(every[:, None], every.size, 1)
    shares = [table.prefix_parity(x) for table in tables]
    assert np.array_equal(shares[0] ^ shares[1], every <= x)


@pytest.mark.parametrize("bits", range(1, MAX_BITS + 1))
@pytest.mark.parametrize("rows", [1, 3])
def test_windows_give_the_entry_at_alpha(bits: int, rows: int) -> None:
    """From all places, of a row of one's own; some windows reach around the end."""
    alpha, first = (each.reshape(-1) for each in np.indices((1 << min(bits, 7), 1 << min(bits, 7))))
    alpha = (alpha * (1 << bits >> min(bits, 7)) + 5).astype(np.uint64) & np.uint64((1 << bits) - 1)
    first = first.astype(np.uint64) * np.uint64(3)
    tables, signs = dealt(alpha, bits)
    distance = ((alpha - first) & np.uint64((1 << bits) - 1)).astype(np.int64)
    which = np.arange(alpha.size) % rows
    for size in {1, (1 << bits) // 2, min(1 << bits, 130), 1 << bits}:
        values = np.arange(1, rows * size + 1).reshape(rows, size) * 7
        table = WindowTable(values)
        sums = [own.window_lookup(first, table, which) for own in tables]
        found = np.where(distance < size, values[which, np.minimum(distance, size - 1)], 0)
        assert np.array_equal(sums[0] - sums[1], signs * found)


@pytest.mark.parametrize("bound_bits", [8, 40, 63])
def test_sums_are_those_of_the_bits(bound_bits: int) -> None:
    """One party's own sum, in 32 and in 64 bits, modulo 2^64."""
    bits, size, count = 9, 300, 70
    tables, _ = dealt(points(4, bits, count), bits)
    entries = InsecureTestRandom(size).uint64((size,)).view(np.int64) >> (64 - bound_bits)
    first = points(5, 64, count)
    places = (first[:, None].astype(np.int64) + np.arange(size)) % (1 << bits)
    expected = np.take_along_axis(bits_of(tables[1]).astype(np.int64), places, 1) @ entries
    assert np.array_equal(tables[1].window_lookup(first, WindowTable(entries)), expected)


@pytest.mark.parametrize("bits", [2, 5, 9])
def test_either_party_sees_fair_coins(bits: int) -> None:
    """Every bit and every sign, whatever alpha is: see the same test of the DPF for what is allowed."""
    count = 4096
    tables, signs = dealt(np.full(count, 2, np.uint64), bits)
    tallies = [(signs == 1).sum(), *(bits_of(table).sum(0, dtype=np.int64) for table in tables)]
    for tally in tallies:
        assert np.abs(tally - count / 2).max() < 5 * count**0.5 / 2


def test_what_is_read_of_no_keys() -> None:
    tables, signs = dealt(np.empty(0, np.uint64), 9)
    assert signs.size == 0
    assert tables[0].prefix_parity(np.empty((2, 0), np.uint64)).shape == (2, 0)
    assert tables[0].window_lookup(np.empty(0, np.uint64), WindowTable(np.ones(3, np.int64))).size == 0


def test_what_does_not_fit_is_refused() -> None:
    alpha = points(1, 9, 4)
    (table, _), _ = dealt(alpha, 9)
    with pytest.raises(RangeError, match=r"below 2\^8"):
        share(np.zeros(4 * table_bytes(8), np.uint8), 8, alpha | np.uint64(256))
    with pytest.raises(RangeError, match="4 tables of 64 bytes, got 255 bytes"):
        share(np.zeros(255, np.uint8), 9, alpha)
    with pytest.raises(RangeError, match="1 to 10 bits, got 11"):
        TruthTables.from_bytes(11, 4, np.zeros(1024, np.uint8))
    with pytest.raises(RangeError, match=r"below 2\^9"):
        table.prefix_parity(alpha[None] + np.uint64(512))
    with pytest.raises(RangeError, match="one a key of 4"):
        table.prefix_parity(alpha[None, :3])
    with pytest.raises(RangeError, match="513 entries"):
        table.window_lookup(alpha, WindowTable(np.ones(513, np.int64)))
    with pytest.raises(RangeError, match="4 rows below 1"):
        table.window_lookup(alpha, WindowTable(np.ones(3, np.int64)), np.ones(4, np.int64))
