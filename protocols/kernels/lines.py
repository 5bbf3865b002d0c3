"""Ranges of prefixes with a line for each place: what `idpf.line_lookup` reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parties.errors import RangeError

Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """L ranges, each of prefixes of one depth, for each of N keys, and a line for each of their W places.

    Attributes:
        depths: int64 [L], numbers of leading bits.
        first: uint64 [L, N], public: the first prefix; taken modulo 2^depth.
        counts: int64 [L, N], public, 0 to W: how many places of the range count.
        places: int64 [L, N], public: where on its line each key is read, plus the payload.
        values, slopes: int64 [L, W].
    """

    depths: NDArray[np.int64]
    first: Words
    counts: NDArray[np.int64]
    places: NDArray[np.int64]
    values: NDArray[np.int64]
    slopes: NDArray[np.int64]

    def check(self, keys: int) -> None:
        """Raises RangeError where shapes differ, or a count is none."""
        each, width = (len(self.depths), keys), self.values.shape[-1]
        expected = {"first": each, "counts": each, "places": each}
        expected |= {"values": (len(self.depths), width), "slopes": (len(self.depths), width)}
        for what, shape in expected.items():
            got = getattr(self, what).shape
            if got != shape:
                raise RangeError(f"{what}: expected shape {shape}, got {got}")
        least, most = int(self.counts.min(initial=0)), int(self.counts.max(initial=0))
        if least < 0 or most > width:
            raise RangeError(f"expected counts from 0 to {width}, got {least} to {most}")
