"""The loops of packing: one step joins two ciphertexts, see `rlwe.packing`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.two_party.rlwe.kernels.transforms import Residues, Words, forward, inverse
from protocols.two_party.rlwe.kernels.words import Word, below, reduced, times


@kernel
def join_ciphertexts(
    first: Residues,
    second: Residues,
    first_odd: Residues,
    second_odd: Residues,
    shift: int,
    key: Residues,
    places: NDArray[np.int32],
    digits: Words,
    inner: int,
    primes: Words,
    folds: Words,
    reciprocals: Words,
    ones: Words,
    roots: Words,
    points: Words,
    degree_inverse: Words,
    roots_inverse: Words,
    points_inverse: Words,
) -> None:
    """(first, second) = (E + X^s O) + f(E - X^s O), all halves [L, N], see `rlwe.packing`."""
    count, degree = first.shape
    sums = np.zeros((2, count, degree), np.uint64)
    image, digit = np.empty((count, degree), np.uint64), np.empty(degree, np.uint64)
    line, turned = np.empty(degree, np.uint64), np.empty(degree, np.uint64)
    for d in range(count):
        _butterfly(first[d], first_odd[d], shift, primes[d], digits[d], places, digit)
        _butterfly(second[d], second_odd[d], shift, primes[d], ones[d], places, image[d])
        for j in range(count):
            line[:] = digit
            forward(line, turned, inner, primes[j], ones[j], roots[j], points[j])
            _add_key_products(turned, key[0, d, j], sums[0, j])
            _add_key_products(turned, key[1, d, j], sums[1, j])
    for j in range(count):
        _reduce_all(sums[0, j], primes[j], folds[j], reciprocals[j], turned)
        inverse(turned, line, inner, primes[j], roots_inverse[j], points_inverse[j])
        _add_to(line, degree_inverse[j], primes[j], first[j])
        _reduce_all(sums[1, j], primes[j], folds[j], reciprocals[j], turned)
        inverse(turned, line, inner, primes[j], roots_inverse[j], points_inverse[j])
        for i in range(degree):
            line[i] = times(line[i], degree_inverse[j], primes[j]) + image[j, i]
        _add_to(line, ones[j], primes[j], second[j])


@kernel
def _reduce_all(sums: Words, prime: Word, fold: Word, reciprocal: Word, out: Words) -> None:
    for i in range(sums.size):
        out[i] = reduced(sums[i], prime, fold, reciprocal)


@kernel
def _add_to(values: Words, scale: Word, prime: Word, out: Residues) -> None:
    for i in range(values.size):
        total = below(times(values[i], scale, prime), prime) + np.uint64(out[i])
        out[i] = np.uint32(below(total, prime))


@kernel
def _add_key_products(values: Words, key: Residues, sums: Words) -> None:
    for i in range(sums.size):
        sums[i] += values[i] * np.uint64(key[i])


@kernel
def _butterfly(
    even: Residues,
    odd: Residues,
    shift: int,
    prime: Word,
    scale: Word,
    places: NDArray[np.int32],
    image: Words,
) -> None:
    """even += X^s odd, and the image of even - X^s odd under X -> X^(N / s + 1), times scale, below 2 p.

    `places` says where a coefficient goes; those that change their sign are numbered from -1 downwards.
    """
    degree, p = even.size, np.uint32(prime)
    rest = np.empty(degree, np.uint32)
    _add_and_subtract(even[:shift], odd[degree - shift :], True, p, rest[:shift])
    _add_and_subtract(even[shift:], odd[: degree - shift], False, p, rest[shift:])
    for i in range(degree):
        place, value = places[i], rest[i]
        image[place if place >= 0 else ~place] = np.uint64(value if place >= 0 else p - value)
    for i in range(degree):
        image[i] = times(image[i], scale, prime)


@kernel
def _add_and_subtract(even: Residues, odd: Residues, negative: bool, p: np.uint32, rest: Residues) -> None:
    for i in range(even.size):
        moved = p - odd[i] if negative else odd[i]
        total, less = even[i] + moved, even[i] + (p - moved)
        even[i] = total - p if total >= p else total
        rest[i] = less - p if less >= p else less
