"""Rows of bits, packed: entry v lies in bit v % 64 of word v // 64."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.arithmetic.lines import Numbers

Words = NDArray[np.uint64]
WORD = 64


def packed(bits: Numbers) -> Words:
    """[..., n] zeros and ones as words [..., max(1, n / 64)]."""
    size = bits.shape[-1]
    words = max(1, size // WORD)
    shaped = bits.reshape(*bits.shape[:-1], words, -1).astype(np.uint64)
    return np.bitwise_or.reduce(shaped << np.arange(shaped.shape[-1], dtype=np.uint64), -1)


def parity(words: Words) -> Words:
    """0 or 1: whether a word has an odd number of ones."""
    for shift in (32, 16, 8, 4, 2, 1):
        words = words ^ (words >> np.uint64(shift))
    return words & np.uint64(1)


def sums(digit_bits: int) -> Numbers:
    """What digits and entries add up to, not yet modulo 2^digit_bits: [digits, entries]."""
    size = 1 << digit_bits
    return np.arange(size)[:, None] + np.arange(size)[None, :]
