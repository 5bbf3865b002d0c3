"""The counting loop against the same sums one by one."""

from __future__ import annotations

import numpy as np
import pytest

from parties.randomness import InsecureTestRandom
from protocols.kernels.histogram import suffix_counts


@pytest.mark.parametrize("bits", [1, 3, 7, 8])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_against_sums_one_by_one(kind: type[np.uint8] | type[np.uint16], bits: int) -> None:
    stream, size = InsecureTestRandom(bits), 1 << bits
    width = 8 * np.dtype(kind).itemsize
    vectors = np.asarray(stream.ring((30, size), width), kind)
    shifts = np.asarray(stream.ring((30,), bits), np.uint8)
    starts = np.array([0, 1, 1, 12, 30])
    got = suffix_counts(vectors, shifts, starts)
    assert got.shape == (4, size - 1)
    for row in range(4):
        sums = np.zeros(size, np.int64)
        for e in range(starts[row], starts[row + 1]):
            sums += np.roll(vectors[e].astype(np.int64), int(shifts[e]))
        for t in range(1, size):
            above = [sums[v % size] for v in range(t - size // 2, size // 2)]
            assert (got[row, t - 1] - sum(above)) % (1 << width) == 0
