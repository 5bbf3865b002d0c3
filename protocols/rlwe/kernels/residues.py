"""Remainders modulo several primes: of small and of long numbers, and of sums of products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.rlwe.kernels.transforms import Residues, Small, Words
from protocols.rlwe.kernels.words import HALF, below, reduced, times


@kernel
def small_residues(small: Small, primes: Words, out: Residues) -> None:
    """Numbers [B, N] between -128 and 127 modulo each prime, [B, L, N]."""
    for row in range(small.shape[0]):
        for j in range(primes.size):
            source, target, prime = small[row], out[row, j], np.int32(primes[j])
            for i in range(source.size):
                value = np.int32(source[i])
                target[i] = np.uint32(value + prime if value < 0 else value)


@kernel
def long_residues(
    digits: NDArray[np.int64], shifts: Words, folds: Words, ones: Words, primes: Words, out: Residues
) -> None:
    """Numbers with digits [D, N], the lowest first, modulo each prime: [L, N].

    Args:
        digits: below 2^62, worth 2^40 of the one before.
        shifts, folds, ones: 2^40, 2^32 and 1 modulo each prime, with quotients.
        primes: any below 2^27.
    """
    total = np.empty(digits.shape[1], np.uint64)
    for j in range(primes.size):
        prime, shift, fold, one = primes[j], shifts[j], folds[j], ones[j]
        total[:] = np.uint64(0)
        for d in range(digits.shape[0] - 1, -1, -1):
            digit = digits[d]
            for i in range(total.size):
                word = np.uint64(digit[i])
                value = times(word, one, prime) + times(word >> HALF, fold, prime)
                total[i] = value + times(total[i], shift, prime)
        for i in range(total.size):
            out[j, i] = np.uint32(below(times(total[i], one, prime), prime))


@kernel
def word_residues(words: Words, folds: Words, ones: Words, lows: Words, primes: Words, out: Residues) -> None:
    """Words [N] and lows modulo each prime, [L, N].

    Args:
        folds, ones: 2^32 and 1 modulo each prime, with quotients.
        primes: any below 2^27.
    """
    for j in range(primes.size):
        prime, fold, one, low, target = primes[j], folds[j], ones[j], lows[j], out[j]
        for i in range(words.size):
            value = times(words[i], one, prime) + times(words[i] >> HALF, fold, prime) + low
            target[i] = np.uint32(below(times(value, one, prime), prime))


@kernel
def minus_products(
    first: Residues,
    second: Residues,
    noise: Residues,
    primes: Words,
    folds: Words,
    reciprocals: Words,
    out: Residues,
) -> None:
    """noise - first second, point by point, all [L, N] and in [0, p)."""
    for j in range(primes.size):
        prime, a, b, c, target = primes[j], first[j], second[j], noise[j], out[j]
        for i in range(target.size):
            value = np.uint64(a[i]) * (prime - np.uint64(b[i])) + np.uint64(c[i])
            target[i] = np.uint32(reduced(value, prime, folds[j], reciprocals[j]))


@kernel
def multiply_points(
    values: Residues, factor: Residues, primes: Words, folds: Words, reciprocals: Words
) -> None:
    """values [B, L, N] times factor [L, N], point by point, in place."""
    for row in range(values.shape[0]):
        for j in range(primes.size):
            target, prime, others = values[row, j], primes[j], factor[j]
            for i in range(target.size):
                product = np.uint64(target[i]) * np.uint64(others[i])
                target[i] = np.uint32(reduced(product, prime, folds[j], reciprocals[j]))


@kernel
def add_reduced(values: Residues, more: Residues, primes: Words, out: Residues) -> None:
    """values + more, whose sums are below 4 p, modulo each prime: all [L, N]."""
    for j in range(primes.size):
        prime, a, b, target = np.uint32(primes[j]), values[j], more[j], out[j]
        for i in range(target.size):
            total = a[i] + b[i]
            total = total - np.uint32(2) * prime if total >= np.uint32(2) * prime else total
            target[i] = total - prime if total >= prime else total


@kernel
def sums_of_products(
    a: Residues,
    b: Residues,
    c: Residues,
    d: Residues,
    primes: Words,
    folds: Words,
    reciprocals: Words,
    out: Residues,
) -> None:
    """a b + c d, point by point, all [L, N] and in [0, p)."""
    for j in range(primes.size):
        first, second, third, fourth, target = a[j], b[j], c[j], d[j], out[j]
        for i in range(target.size):
            value = np.uint64(first[i]) * np.uint64(second[i]) + np.uint64(third[i]) * np.uint64(fourth[i])
            target[i] = np.uint32(reduced(value, primes[j], folds[j], reciprocals[j]))


@kernel
def drop_primes(values: Residues, primes: Words, ones: Words, inverses: Words, kept: int) -> None:
    """[B, L, N] scaled down by one prime p after the other, in place: (x - r) / p, r from -p / 2 to p / 2.

    Args:
        ones: 1, with quotients.
        inverses: [L, L], 1 / p of the prime of the row modulo that of the column, with quotients.
        kept: primes that are left.
    """
    for row in range(values.shape[0]):
        for last in range(primes.size - 1, kept - 1, -1):
            half, rests = primes[last] >> np.uint64(1), values[row, last]
            for j in range(last):
                prime, inverse, one, target = primes[j], inverses[last, j], ones[j], values[row, j]
                down = below(times(primes[last], one, prime), prime)
                for i in range(target.size):
                    rest = np.uint64(rests[i])
                    away = down if rest > half else np.uint64(0)  # r is rest - p
                    moved = np.uint64(target[i]) + away + (prime + prime) - times(rest, one, prime)
                    target[i] = np.uint32(below(times(moved, inverse, prime), prime))
