"""Uniform, ternary and binomial polynomials, and floods, from a stream of randomness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parties.randomness import Randomness
from protocols.kernels.jit import kernel
from protocols.two_party.rlwe.kernels.transforms import Residues, Small, Words
from protocols.two_party.rlwe.parameters import ERROR_BITS

_ERROR_MASK = np.uint64((1 << ERROR_BITS) - 1 | ((1 << ERROR_BITS) - 1) << 32)
_LIMB = 40
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
    limbs = flood_limbs(stream, shape, bits)
    centre = 3 * ((1 << bits) - 1) // 2
    return np.stack([(of_limbs(limbs, prime) + prime - centre % prime) % prime for prime in primes]).astype(
        np.uint32
    )


def flood_limbs(stream: Randomness, shape: tuple[int, ...], bits: int) -> list[NDArray[np.int64]]:
    """Sums of three uniform numbers of so many bits, as digits of 40 bits below 3 2^40, the lowest first."""
    widths = [min(_LIMB, bits - done) for done in range(0, bits, _LIMB)]
    return [stream.words((3, *shape), width).sum(0, dtype=np.int64) for width in widths]


def of_limbs(limbs: list[NDArray[np.int64]], prime: int) -> NDArray[np.int64]:
    """Numbers from digits of 40 bits, modulo a prime below 2^27."""
    total = np.zeros_like(limbs[0])
    for digit in reversed(limbs):
        total = (total * ((1 << _LIMB) % prime) + digit) % prime
    return total


def to_residues(small: Small, primes: tuple[int, ...]) -> Residues:
    """Small numbers [..., N] modulo each prime, [..., L, N]."""
    wide = small[..., None, :].astype(np.int64)
    return (wide % np.array(primes, np.int64)[:, None]).astype(np.uint32)
