"""Rows of tables under windows of bits, in NumPy; the compiled sums are in the tests of their kernels."""

from __future__ import annotations

import numpy as np
import pytest

from parties.errors import RangeError
from parties.randomness import InsecureTestRandom
from protocols.kernels.window_table import WindowTable, windows_of


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (1, 300), (5, 128), (700, 200)])
def test_sums_of_selected_entries(rows: int, size: int) -> None:
    """The last has too many rows for sums of eight bits."""
    random, count = InsecureTestRandom(rows), 40
    values = random.uint64((rows, size)).view(np.int64) >> 30
    table = WindowTable(values)
    windows = random.uint64((count, 2 * table.leaves))
    which = (random.uint64((count,)) % np.uint64(rows)).astype(np.int64)
    bits = np.unpackbits(windows.view(np.uint8), axis=1, bitorder="little")[:, :size].astype(np.int64)
    assert np.array_equal(table.sum(windows, which), (bits * values[which]).sum(1))
    if rows == 1:
        assert np.array_equal(table.sum(windows, None), bits @ values[0])


@pytest.mark.parametrize("offset", [0, 1, 63, 64, 100, 127])
def test_windows_move_to_the_lowest_bit(offset: int) -> None:
    words = InsecureTestRandom(1).uint64((3, 6))
    moved = windows_of(words, np.full(3, offset), 2)
    bits, expected = (np.unpackbits(w.view(np.uint8), axis=1, bitorder="little") for w in (moved, words))
    assert np.array_equal(bits, expected[:, offset : offset + 256])


def test_a_row_is_summed_in_32_bits_where_it_fits() -> None:
    row = np.full(100, 2**24)
    assert WindowTable(np.stack([row, row])).entries.dtype == np.int32
    assert WindowTable(np.stack([row, 2 * row])).entries.dtype == np.int64


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 2, 3)], ids=str)
def test_what_is_no_table(shape: tuple[int, ...]) -> None:
    with pytest.raises(RangeError, match="a table of entries"):
        WindowTable(np.zeros(shape, np.int64))
