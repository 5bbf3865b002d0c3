"""Uniform, ternary and binomial polynomials, and floods, from a stream of randomness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parties.randomness import Randomness
from protocols.kernels.jit import kernel
from protocols.rlwe.kernels.residues import long_residues, small_residues
from protocols.rlwe.kernels.transforms import Residues, Small, Words
from protocols.rlwe.kernels.words import with_quotient
from protocols.rlwe.parameters import ERROR_BITS

_ERROR_MASK = np.uint64((1 << ERROR_BITS) - 1 | ((1 << ERROR_BITS) - 1) << 32)
Integers = NDArray[np.int64]
LIMB = 40
"""Bits of the lower part of a number of a flood."""


def uniform_residues(stream: Randomness, count: int, degree: int, primes: tuple[int, ...]) -> Residues:
    """Exactly uniform polynomials [count, L, N] modulo each prime; both holders of a seed draw the same."""
    out = np.empty((count, len(primes), degree), np.uint32)
    for row in out:
        for target, prime in zip(row, primes, strict=True):
            filled = 0
            while filled < degree:
                raw = stream.ring((degree - filled + degree // 16,), 32)
                filled = accept_residues(raw, np.uint32((1 << 32) // prime * prime), prime, target, filled)
    return out


@kernel
def accept_residues(raw: Residues, bound: np.uint32, prime: int, out: Residues, filled: int) -> int:
    """Writes remainders of the words below a multiple of the prime; returns how many are there then."""
    for word in raw:
        if word < bound and filled < out.size:
            out[filled] = word % np.uint32(prime)
            filled += 1
    return filled


def ternary(stream: Randomness, count: int) -> Small:
    """Uniform on -1, 0, 1."""
    out = np.empty(count, np.int8)
    filled = 0
    while filled < count:
        filled = _accept_ternary(stream.uint8((count - filled + 256,)), out, filled)
    return out


@kernel
def _accept_ternary(raw: NDArray[np.uint8], out: Small, filled: int) -> int:
    for byte in raw:
        if byte < np.uint8(255) and filled < out.size:
            out[filled] = np.int8(byte % np.uint8(3)) - np.int8(1)
            filled += 1
    return filled


def errors(stream: Randomness, count: int) -> Small:
    """Centred binomial numbers of variance 21/2."""
    out = np.empty(count, np.int8)
    count_bits(stream.uint64((count,)), out)
    return out


@kernel
def count_bits(raw: Words, out: Small) -> None:
    """Of each word, bits among its low 21 less bits among the low 21 of its upper half."""
    for i in range(raw.size):
        x = raw[i] & _ERROR_MASK
        x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
        x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
        x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
        x += x >> np.uint64(8)
        x += x >> np.uint64(16)
        out[i] = np.int8(x & np.uint64(63)) - np.int8((x >> np.uint64(32)) & np.uint64(63))


def flood(stream: Randomness, shape: tuple[int, ...], bits: int, primes: tuple[int, ...]) -> Residues:
    """[L, *shape]: sums of three uniform numbers of so many bits, centred, modulo each prime."""
    values = of_limbs(flood_limbs(stream, shape, bits), primes)
    centre = 3 * ((1 << bits) - 1) // 2
    for j, prime in enumerate(primes):
        values[j] += np.uint32(prime - centre % prime)
        np.minimum(values[j], values[j] - np.uint32(prime), out=values[j])  # smaller numbers wrap, and stay
    return values


def flood_limbs(stream: Randomness, shape: tuple[int, ...], bits: int) -> Integers:
    """Sums of three uniform numbers of so many bits: digits of 40 bits, below 3 2^40, lowest first."""
    widths = [min(LIMB, bits - done) for done in range(0, bits, LIMB)]
    return np.stack([stream.words((3, *shape), width).sum(0, dtype=np.int64) for width in widths])


def of_limbs(limbs: Integers, primes: tuple[int, ...]) -> Residues:
    """Numbers from digits [D, ...] of 40 bits, modulo each prime: [L, ...]."""
    out = np.empty((len(primes), limbs[0].size), np.uint32)
    shifts, folds, ones = (
        np.array([with_quotient((1 << bits) % p, p) for p in primes], np.uint64) for bits in (LIMB, 32, 0)
    )
    long_residues(limbs.reshape(len(limbs), -1), shifts, folds, ones, np.array(primes, np.uint64), out)
    return out.reshape(len(primes), *limbs.shape[1:])


def to_residues(small: Small, primes: tuple[int, ...]) -> Residues:
    """Small numbers [..., N] modulo each prime, [..., L, N]."""
    flat = small.reshape(-1, small.shape[-1])
    out = np.empty((flat.shape[0], len(primes), flat.shape[1]), np.uint32)
    small_residues(flat, np.array(primes, np.uint64), out)
    return out.reshape(*small.shape[:-1], *out.shape[1:])
