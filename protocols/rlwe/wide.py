"""Coefficients of answers in more than 64 bits: as two words, of the low 32 bits and of those above.

Rings of 55 bits and more need them: an answer's halves have some ten bits more than the ring.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parties.wire import RingArray, Spec, spec_of
from protocols.kernels.jit import kernel
from protocols.rlwe.encoding import scaled_down
from protocols.rlwe.kernels.transforms import Residues, Words
from protocols.rlwe.parameters import LOW_BITS, MOST_WIDTH, RlweParameters
from protocols.rlwe.tiles import Tiles

_LOW, _HALF = np.uint64((1 << LOW_BITS) - 1), np.uint64(LOW_BITS)


def specs_of(bits: int, shape: tuple[int, ...]) -> list[Spec]:
    """The arrays of coefficients of so many bits: one, or the low bits and those above."""
    widths = [bits] if bits <= MOST_WIDTH else [LOW_BITS, bits - LOW_BITS]
    return [spec_of(width, shape) for width in widths]


def answer_specs(parameters: RlweParameters, tiles: Tiles, rows: int) -> list[Spec]:
    """The arrays of one slab's answer: first halves in full, of second halves what holds results."""
    p = parameters
    first = specs_of(p.first_bits, (len(tiles.groups), p.degree))
    return [*first, *specs_of(p.second_bits, (rows, tiles.shape.columns))]


def scaled(parameters: RlweParameters, values: Residues, bits: int) -> list[Words]:
    """round(2^bits x / q) modulo 2^bits of x [L, ...], as the arrays of `specs_of`; off by 2^-20 at most."""
    if bits <= MOST_WIDTH:
        return [scaled_down(parameters, values, bits)]
    primes = parameters.primes
    parts = [parameters.modulus // p for p in primes]
    inverses = np.array([pow(part % p, -1, p) for part, p in zip(parts, primes, strict=True)], np.uint64)
    above, between, below = (_bits(primes, *place) for place in ((64, 64), (32, 32), (0, 32)))
    low, high = (np.empty(values[0].size, np.uint64) for _ in range(2))
    flat = np.ascontiguousarray(values).reshape(len(primes), -1)
    _scale_down_wide(flat, np.array(primes, np.uint64), inverses, above, between, below, bits, low, high)
    return [low.reshape(values.shape[1:]), high.reshape(values.shape[1:])]


def _bits(primes: tuple[int, ...], shift: int, width: int) -> Words:
    """Bits of floor(2^128 / p): so many from a place on."""
    return np.array([((1 << 128) // p >> shift) % (1 << width) for p in primes], np.uint64)


@kernel
def _scale_down_wide(
    values: Residues,
    primes: Words,
    inverses: Words,
    high: Words,
    middle: Words,
    low: Words,
    bits: int,
    out_low: Words,
    out_high: Words,
) -> None:
    """As `encoding.scaled_down`, in fixed point with 128 bits, of which 96 are rounded."""
    down = np.uint64(96 - bits)
    half = np.uint64(1) << (down - np.uint64(1))
    for i in range(out_low.size):
        above, between, below = np.uint64(0), np.uint64(0), np.uint64(0)
        for j in range(primes.size):
            digit = np.uint64(values[j, i]) * inverses[j] % primes[j]
            above += digit * high[j]
            between += digit * middle[j]
            below += digit * low[j]
        between += below >> _HALF
        above += between >> _HALF
        rest = (between & _LOW) + half
        above += rest >> _HALF
        rest &= _LOW
        out_low[i] = ((above << (_HALF - down)) | (rest >> down)) & _LOW
        out_high[i] = above >> down


def halves(arrays: list[RingArray]) -> tuple[Words, Words]:
    """Coefficients in the arrays of `specs_of`: their low 32 bits, and those above."""
    words = [array.astype(np.uint64, copy=False) for array in arrays]
    if len(words) == 1:
        return words[0] & _LOW, words[0] >> _HALF
    return words[0], words[1]


def rounded_sum(parameters: RlweParameters, first: tuple[Words, Words], second: tuple[Words, Words]) -> Words:
    """Results modulo 2^k of a phase: first halves times the secret, and second halves.

    The phase modulo 2^first_bits, rounded to its upper k bits. What the low words add up to is a signed
    number below 2^50; the upper words are worth 2^32, a multiple of what is rounded off.

    Args:
        first: low words and upper words times the secret, exact integers modulo 2^64.
        second: low words and upper words.
    """
    p = parameters
    off, up = p.first_bits - p.ring_bits, p.first_bits - p.second_bits
    low = first[0] + (second[0] << np.uint64(up)) + np.uint64(1 << (off - 1))
    shifted: NDArray[np.int64] = low.view(np.int64) >> np.int64(off)
    above = (first[1] << np.uint64(LOW_BITS - off)) + (second[1] << np.uint64(LOW_BITS + up - off))
    return (shifted.view(np.uint64) + above) & np.uint64((1 << p.ring_bits) - 1)
