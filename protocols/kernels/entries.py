"""Vectors of small entries, packed in planes: any width from 1 to 16 bits, and plain loops to read them.

A vector has B = 2^d entries of c bits and takes B c / 8 bytes. Its low eight bits come first, then what is
left: each a plane for every power of two in its width, the widest first. The plane of w bits has B w / 8
bytes; entry j lies in byte j mod (B w / 8) of it, at bit w (j div (B w / 8)). Neighbours are in neighbouring
bytes, so that shifts of whole words unpack eight entries at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel

Bytes = NDArray[np.uint8]
MIN_DOMAIN_BITS = 3
"""Smallest domain: every bit plane takes whole bytes."""
MAX_VALUE_BITS = 16


@dataclass(frozen=True)
class Layout:
    """How a vector lies in memory.

    Attributes:
        domain_bits: d, at least 3.
        value_bits: c, 1 to 16.
    """

    domain_bits: int
    value_bits: int

    def __post_init__(self) -> None:
        assert self.domain_bits >= MIN_DOMAIN_BITS
        assert 1 <= self.value_bits <= MAX_VALUE_BITS

    @property
    def entries(self) -> int:
        """B."""
        return 1 << self.domain_bits

    @property
    def vector_bytes(self) -> int:
        return self.entries * self.value_bits // 8

    @cached_property
    def planes(self) -> NDArray[np.int64]:
        """First byte, width, and lowest bit of every plane, [planes, 3]."""
        rows: list[tuple[int, int, int]] = []
        start = 0
        for part in (range(min(self.value_bits, 8)), range(8, self.value_bits)):
            bit = part.start
            for width in (8, 4, 2, 1):
                if len(part) & width:
                    rows.append((start, width, bit))
                    start += self.entries * width // 8
                    bit += width
        return np.array(rows, np.int64)

    @property
    def low_planes(self) -> int:
        """How many planes the low eight bits have."""
        return int((self.planes[:, 2] < 8).sum())


def add_one(packed: Bytes, points: NDArray[np.uint64], layout: Layout) -> None:
    """Adds 1, modulo 2^c, to one entry of every vector.

    Args:
        packed: uint8 [N, vector_bytes], changed in place.
        points: [N], which entry; taken modulo B.
    """
    _add_one(packed, points, layout.planes, layout.domain_bits)


def entries_at(packed: Bytes, points: NDArray[np.uint64], layout: Layout) -> NDArray[np.int64]:
    """One entry of every vector, [N]; arguments as of `add_one`."""
    out = np.empty(points.size, np.int64)
    _read(packed, points, layout.planes, layout.domain_bits, out)
    return out


@kernel
def _add_one(packed: Bytes, points: NDArray[np.uint64], planes: NDArray[np.int64], bits: int) -> None:
    """A carry goes from plane to plane, lowest bits first."""
    last = np.uint64((1 << bits) - 1)
    for e in range(points.size):
        point = np.int64(points[e] & last)
        carry = np.int64(1)
        for p in range(planes.shape[0]):
            start, width = planes[p, 0], planes[p, 1]
            size = (width << bits) >> 3
            byte, shift = start + point % size, width * (point // size)
            mask = (np.int64(1) << width) - 1
            entry = ((np.int64(packed[e, byte]) >> shift) & mask) + carry
            carry = entry >> width
            packed[e, byte] = (np.int64(packed[e, byte]) & ~(mask << shift)) | ((entry & mask) << shift)


@kernel
def _read(
    packed: Bytes, points: NDArray[np.uint64], planes: NDArray[np.int64], bits: int, out: NDArray[np.int64]
) -> None:
    last = np.uint64((1 << bits) - 1)
    for e in range(points.size):
        point = np.int64(points[e] & last)
        value = np.int64(0)
        for p in range(planes.shape[0]):
            start, width = planes[p, 0], planes[p, 1]
            size = (width << bits) >> 3
            entry = np.int64(packed[e, start + point % size]) >> (width * (point // size))
            value |= (entry & ((np.int64(1) << width) - 1)) << planes[p, 2]
        out[e] = value
