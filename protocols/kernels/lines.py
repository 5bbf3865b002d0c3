"""Ranges of prefixes with a line for each: what `idpf.line_lookup` reads, and how kernels take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parties.errors import RangeError

Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """A range of prefixes of one depth, for each of N keys, and a line for each of its W places.

    Attributes:
        depth: number of leading bits.
        first: uint64 [N], public; taken modulo 2^depth.
        counts: int64 [N], public, 0 to W: how many places of the range count.
        places: int64 [N], public: where on its line each key is read, plus the payload.
        values, slopes: int64 [W].
    """

    depth: int
    first: Words
    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    values: NDArray[np.int64]
    slopes: NDArray[np.int64]

    def check(self, keys: int) -> None:
        """Raises RangeError where shapes differ, or a count is none."""
        arrays = {"first prefixes": self.first, "counts": self.counts, "places": self.places}
        shapes = {what: (array.shape, (keys,)) for what, array in arrays.items()}
        shapes["slopes"] = self.slopes.shape, self.values.shape
        for what, (shape, expected) in shapes.items():
            if shape != expected:
                raise RangeError(f"{what}: expected shape {expected}, got {shape}")
        least, most = int(self.counts.min(initial=0)), int(self.counts.max(initial=0))
        if self.values.ndim != 1 or least < 0 or most > self.values.size:
            raise RangeError(f"expected counts from 0 to {self.values.size}, got {least} to {most}")


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Several `Lines` of the same keys as arrays of words.

    Attributes:
        depths: int64 [L].
        first, counts, places: uint64 [L, N].
        values, slopes: uint64 [L, W], W the longest range; zero beyond each.
    """

    depths: NDArray[np.int64]
    first: Words
    counts: Words
    places: Words
    values: Words
    slopes: Words

    @classmethod
    def of(cls, lines: Sequence[Lines]) -> Stack:
        """All of them."""
        longest = max(line.values.size for line in lines)

        def padded(array: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.pad(array, (0, longest - array.size))

        return cls(
            np.array([line.depth for line in lines], np.int64),
            np.stack([line.first for line in lines]),
            _words([line.counts for line in lines]),
            _words([line.places for line in lines]),
            _words([padded(line.values) for line in lines]),
            _words([padded(line.slopes) for line in lines]),
        )


def _words(rows: Sequence[NDArray[Any]]) -> Words:
    return np.stack(rows).view(np.uint64)
