"""Between numbers modulo 2^k and what is encrypted: q / 2^k times the number, and back after scaling down.

An encryption holds round(q m / 2^k), whose rounding counts as noise. An answer is sent modulo powers of two
and not modulo q: its halves are rounded to multiples of q / 2^bits.
"""

from __future__ import annotations

import numpy as np

from protocols.kernels.jit import kernel
from protocols.rlwe.kernels.transforms import Residues, Words
from protocols.rlwe.parameters import RlweParameters
from protocols.rlwe.tiles import Integers

_SPLIT = np.uint64(32)


def signed(words: Words, bits: int) -> Integers:
    """Words modulo 2^bits as integers from -2^(bits - 1) on."""
    up = 64 - bits
    return (words << np.uint64(up)).view(np.int64) >> np.int64(up)


def encode(parameters: RlweParameters, numbers: Words) -> Residues:
    """round(q m / 2^k) of numbers [..., N] modulo each prime: [..., L, N]."""
    p, bits = parameters, parameters.ring_bits
    flat = np.ascontiguousarray(numbers).reshape(-1, numbers.shape[-1])
    out = np.empty((flat.shape[0], len(p.primes), flat.shape[1]), np.uint32)
    inverses = np.array([pow(1 << bits, -1, prime) for prime in p.primes], np.int64)
    primes = np.array(p.primes, np.int64)
    _encode(flat, bits, np.uint64(p.modulus % (1 << bits)), primes, inverses, out)
    return out.reshape(*numbers.shape[:-1], len(p.primes), numbers.shape[-1])


@kernel
def _encode(
    numbers: Words, bits: int, modulus: np.uint64, primes: Integers, inverses: Integers, out: Residues
) -> None:
    """q m = 2^k round(q m / 2^k) + rest, so that modulo a prime of q the quotient is -rest / 2^k."""
    up = np.uint64(64 - bits)
    for row in range(numbers.shape[0]):
        for i in range(numbers.shape[1]):
            rest = np.int64((numbers[row, i] * modulus) << up) >> np.int64(up)
            for j in range(primes.size):
                prime = primes[j]
                small = (-rest) % prime
                out[row, j, i] = np.uint32(small * inverses[j] % prime)


def scaled_down(parameters: RlweParameters, values: Residues, bits: int) -> Words:
    """round(2^bits x / q) modulo 2^bits of x [L, ...] given modulo each prime; off by 2^-20 at most.

    Args:
        bits: 64 at most.
    """
    primes = parameters.primes
    parts = [parameters.modulus // p for p in primes]
    inverses = np.array([pow(part % p, -1, p) for part, p in zip(parts, primes, strict=True)], np.uint64)
    high = np.array([((1 << 96) // p >> 32) % (1 << 64) for p in primes], np.uint64)
    low = np.array([(1 << 96) // p & 0xFFFFFFFF for p in primes], np.uint64)
    out = np.empty(values[0].size, np.uint64)
    flat = np.ascontiguousarray(values).reshape(len(primes), -1)
    _scale_down(flat, np.array(primes, np.uint64), inverses, high, low, bits, out)
    return out.reshape(values.shape[1:])


@kernel
def _scale_down(
    values: Residues, primes: Words, inverses: Words, high: Words, low: Words, bits: int, out: Words
) -> None:
    """x / q is, but for an integer, the sum of digits y_j / p_j: in fixed point, with 96 bits."""
    down, half = np.uint64(64 - bits), np.uint64(1) << np.uint64(63 - bits)
    for i in range(out.size):
        above, below = np.uint64(0), np.uint64(0)
        for j in range(primes.size):
            digit = np.uint64(values[j, i]) * inverses[j] % primes[j]
            above += digit * high[j]
            below += digit * low[j]
        out[i] = (above + (below >> _SPLIT) + half) >> down
