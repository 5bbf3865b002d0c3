"""Packed vectors and the counting loop against the same one entry at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from parties.randomness import InsecureTestRandom
from protocols.kernels.entries import Layout, add_one, entries_at
from protocols.kernels.histogram import suffix_counts


def unpacked(packed: NDArray[np.uint8], layout: Layout) -> NDArray[np.int64]:
    """Every entry, [N, B]."""
    points = np.arange(layout.entries, dtype=np.uint64)
    columns = [entries_at(packed, np.full(len(packed), point), layout) for point in points]
    return np.stack(columns, -1)


def vectors(layout: Layout, count: int) -> NDArray[np.uint8]:
    stream = InsecureTestRandom(layout.value_bits)
    return stream.uint8((count, layout.vector_bytes))


@pytest.mark.parametrize("domain_bits", [3, 5, 6, 8])
@pytest.mark.parametrize("value_bits", range(1, 17))
def test_every_bit_belongs_to_one_entry(value_bits: int, domain_bits: int) -> None:
    layout = Layout(domain_bits, value_bits)
    bits = np.eye(8 * layout.vector_bytes, dtype=np.uint8)
    packed = np.packbits(bits, axis=1, bitorder="little")
    entries = unpacked(packed, layout)
    assert (np.count_nonzero(entries, axis=1) == 1).all()
    assert sorted(entries.sum(1)) == sorted([1 << bit for bit in range(value_bits)] * layout.entries)


@pytest.mark.parametrize("value_bits", range(1, 17))
def test_one_is_added_to_one_entry(value_bits: int) -> None:
    layout, points = Layout(4, value_bits), np.arange(32, dtype=np.uint64)
    for packed in (vectors(layout, 32), np.full((32, layout.vector_bytes), 255, np.uint8)):
        before = unpacked(packed, layout)
        add_one(packed, points, layout)
        before[np.arange(32), points % 16] += 1
        assert np.array_equal(unpacked(packed, layout), before % (1 << value_bits))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("domain_bits", [3, 5, 6, 7, 8])
@pytest.mark.parametrize("value_bits", [1, 3, 7, 8, 9, 11, 12, 15, 16])
def test_against_sums_one_by_one(
    value_bits: int, domain_bits: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr("protocols.kernels.histogram._THREAD_BYTES", 1)
    layout = Layout(domain_bits, value_bits)
    size, packed = layout.entries, vectors(layout, 30)
    entries = unpacked(packed, layout)
    shifts = InsecureTestRandom(1).uint8((30,)) % np.uint8(size - 1)
    starts = np.array([0, 1, 1, 12, 30])
    got = suffix_counts(packed, layout, shifts, starts)
    assert got.shape == (4, size - 1)
    for row in range(4):
        sums = np.zeros(size, np.int64)
        for e in range(starts[row], starts[row + 1]):
            sums += np.roll(entries[e], int(shifts[e]))
        for t in range(1, size):
            above = [sums[v % size] for v in range(t - size // 2, size // 2)]
            assert (got[row, t - 1] - sum(above)) % (1 << value_bits) == 0


def test_sums_of_long_rows_wrap() -> None:
    layout = Layout(6, 10)
    packed = np.full((1000, layout.vector_bytes), 255, np.uint8)
    got = suffix_counts(packed, layout, np.zeros(1000, np.uint8), np.array([0, 1000]))
    expected = -1000 * np.arange(layout.entries - 1, 0, -1)
    assert ((got[0] - expected) % 1024 == 0).all()
