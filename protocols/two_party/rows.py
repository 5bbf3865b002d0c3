"""Rows of bits, packed: entry v lies in bit v % 64 of word v // 64."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.arithmetic.lines import Numbers

Words = NDArray[np.uint64]
WORD = 64


def packed(bits: NDArray[np.integer[Any]]) -> Words:
    """[..., n] zeros and ones as words [..., max(1, n / 64)]."""
    octets = np.packbits(bits.astype(np.uint8, copy=False), axis=-1, bitorder="little")
    room = np.zeros((*bits.shape[:-1], max(1, bits.shape[-1] // WORD) * 8), np.uint8)
    room[..., : octets.shape[-1]] = octets
    return room.view("<u8")


def parity(words: Words) -> Words:
    """0 or 1: whether a word has an odd number of ones."""
    for shift in (32, 16, 8, 4, 2, 1):
        words = words ^ (words >> np.uint64(shift))
    return words & np.uint64(1)


def sums(digit_bits: int) -> Numbers:
    """What digits and entries add up to, not yet modulo 2^digit_bits: [digits, entries]."""
    size = 1 << digit_bits
    return np.arange(size)[:, None] + np.arange(size)[None, :]
