"""Bit-slices: one bit of many ring elements side by side, so that an AND of words is 64 ANDs of bits.

A slice of n bits lies in ceil(n / 8) bytes, element i in bit i % 8 of byte i // 8. Bits beyond n have no
meaning. On the wire slices follow each other without padding: see `squeeze`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.tensors import to_tensor

Slices = NDArray[np.uint8]
"""[slices, ceil(n / 8)] bytes."""

_CHUNK_BYTES = 1 << 14
"""Words of this many bytes are turned around at a time: they stay in the first cache."""
_SWAPS = ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0))


def slice_bytes(elements: int) -> int:
    """Length of a slice of this many bits in memory."""
    return (elements + 7) // 8


def squeezed_bytes(slices: int, elements: int) -> int:
    """Length of slices of this many bits each on the wire."""
    return (slices * elements + 7) // 8


def to_slices(words: torch.Tensor, bits: int) -> Slices:
    """The lowest bits of 64-bit words, lowest first: int64 [n] -> [bits, ceil(n / 8)]."""
    count, rows = words.numel(), (bits + 7) // 8
    raw: NDArray[np.uint8] = words.contiguous().numpy().view(np.uint8).reshape(count, 8)
    grouped = np.zeros((rows, slice_bytes(count) * 8), np.uint8)
    for row in range(rows):
        grouped[row, :count] = raw[:, row]
    turned = _turn(grouped.view(np.uint64)).view(np.uint8).reshape(rows, -1, 8)
    return np.ascontiguousarray(turned.transpose(0, 2, 1)).reshape(8 * rows, -1)[:bits]


def _turn(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Transposes each word as an 8 x 8 matrix of bits, in place."""
    flat = words.reshape(-1)
    step = _CHUNK_BYTES // 8
    for start in range(0, flat.size, step):
        chunk = flat[start : start + step]
        for shift, mask in _SWAPS:
            swapped = chunk >> np.uint64(shift)
            swapped ^= chunk
            swapped &= np.uint64(mask)
            chunk ^= swapped
            swapped <<= np.uint64(shift)
            chunk ^= swapped
    return words


def from_slice(bits: NDArray[np.uint8], elements: int) -> torch.Tensor:
    """One slice [ceil(n / 8)] as int64 zeros and ones [n]."""
    return to_tensor(np.unpackbits(bits, count=elements, bitorder="little"))


def squeeze(slices: Slices, elements: int) -> NDArray[np.uint8]:
    """Slices of n bits end to end, padded to a whole byte once: [slices, ceil(n / 8)] -> [bytes]."""
    if elements % 8 == 0:
        return slices.reshape(-1)
    unpacked: NDArray[Any] = np.unpackbits(slices, axis=1, count=elements, bitorder="little")
    return np.packbits(unpacked, bitorder="little")


def stretch(squeezed: NDArray[np.uint8], slices: int, elements: int) -> Slices:
    """The inverse of `squeeze`."""
    if elements % 8 == 0:
        return squeezed.reshape(slices, -1) if elements else np.zeros((slices, 0), np.uint8)
    unpacked = np.unpackbits(squeezed, count=slices * elements, bitorder="little")
    return np.packbits(unpacked.reshape(slices, elements), axis=1, bitorder="little")
