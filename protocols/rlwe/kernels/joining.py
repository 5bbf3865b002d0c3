"""The loops of packing: one step joins two ciphertexts, see `rlwe.packing`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.rlwe.kernels.transforms import Residues, Words, forward, inverse
from protocols.rlwe.kernels.words import LOW, Word, below, reduced, times

Places = NDArray[np.int32]


@kernel
def join_ciphertexts(
    first: Residues,
    second: Residues,
    first_odd: Residues,
    second_odd: Residues,
    shift: int,
    key: Residues,
    places: Places,
    order: Places,
    powers: Words,
    spans: NDArray[np.int64],
    scales: Words,
    radixes: Words,
    inverses: Words,
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
    """(first, second) = (E + X^s O) + f(E - X^s O), all halves [L, N], see `rlwe.packing`.

    Args:
        first, first_odd: coefficients.
        second, second_odd: at their points.
        key: [2, D, L, N], of f.
        places, order: where f takes each coefficient and each value from.
        powers: [L, N], X^s at its points.
        spans, scales, radixes, inverses: of a `DigitCut`.
    """
    count, degree = first.shape
    sums = np.zeros((2, count, degree), np.uint64)
    images = np.empty((radixes.shape[1], degree), np.uint64)
    digits = np.empty((radixes.shape[1], degree), np.uint64)
    line, turned = np.empty(degree, np.uint64), np.empty(degree, np.uint64)
    for d in range(spans.size - 1):
        start, end = spans[d], spans[d + 1]
        for j in range(start, end):
            image = images[j - start]
            _butterfly(first[j], first_odd[j], shift, primes[j], scales[j], places, image)
            _digit(image, digits, j - start, radixes[d, :, j], inverses[d, j - start], primes[j])
        for j in range(count):
            if start <= j < end:
                line[:] = images[j - start]
            else:
                _number(digits, end - start, radixes[d, :, j], primes[j], line)
            forward(line, turned, inner, primes[j], ones[j], roots[j], points[j])
            _add_key_products(turned, key[0, d, j], key[1, d, j], sums[0, j], sums[1, j])
    for j in range(count):
        prime, fold, reciprocal = primes[j], folds[j], reciprocals[j]
        _reduce_all(sums[0, j], prime, fold, reciprocal, turned)
        inverse(turned, line, inner, prime, roots_inverse[j], points_inverse[j])
        _add_to(line, degree_inverse[j], prime, first[j])
        _split(second[j], second_odd[j], powers[j], prime, sums[1, j], turned)
        _add_moved(sums[1, j], turned, order, prime, fold, reciprocal, second[j])


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
def _add_key_products(values: Words, first: Residues, second: Residues, sums: Words, others: Words) -> None:
    for i in range(sums.size):
        value = values[i] & LOW
        sums[i] += value * np.uint64(first[i])
        others[i] += value * np.uint64(second[i])


@kernel
def _split(even: Residues, odd: Residues, power: Words, prime: Word, sums: Words, rest: Words) -> None:
    """sums += E + X^s O and rest = E - X^s O, at their points, below 3 p each."""
    for i in range(sums.size):
        value, moved = np.uint64(even[i]), times(np.uint64(odd[i]), power[i], prime)
        sums[i] += value + moved
        rest[i] = value + (prime + prime) - moved


@kernel
def _add_moved(
    sums: Words, rest: Words, order: Places, prime: Word, fold: Word, reciprocal: Word, out: Residues
) -> None:
    """The sums and the rest under f, reduced."""
    for i in range(sums.size):
        sums[i] += rest[order[i]]
    for i in range(sums.size):
        out[i] = np.uint32(reduced(sums[i], prime, fold, reciprocal))


@kernel
def _digit(image: Words, digits: Words, place: int, radix: Words, inverse: Word, prime: Word) -> None:
    """The next digit to the primes of one number, mixed-radix: below its prime; image is below 2 p."""
    target = digits[place]
    if place == 0:
        for i in range(image.size):
            target[i] = below(image[i], prime)
        return
    bound = (prime + prime) * np.uint64(place)
    for i in range(image.size):
        target[i] = image[i] + bound - digits[0, i]
    for r in range(1, place):
        for i in range(image.size):
            target[i] -= times(digits[r, i], radix[r], prime)
    for i in range(image.size):
        target[i] = below(times(target[i], inverse, prime), prime)


@kernel
def _number(digits: Words, count: int, radix: Words, prime: Word, out: Words) -> None:
    """A number of up to three mixed-radix digits modulo another prime, below 2 p."""
    twice = prime + prime
    out[:] = digits[0]
    for r in range(1, count):
        for i in range(out.size):
            out[i] = below(out[i] + times(digits[r, i], radix[r], prime), twice)


@kernel
def _butterfly(
    even: Residues,
    odd: Residues,
    shift: int,
    prime: Word,
    scale: Word,
    places: Places,
    image: Words,
) -> None:
    """even += X^s odd, and the image of even - X^s odd under X -> X^(N / s + 1), times scale, below 2 p.

    `places` says where a coefficient comes from; those that change their sign are numbered from -1 downwards.
    """
    degree, p = even.size, np.uint32(prime)
    rest = np.empty(degree, np.uint32)
    _add_and_subtract(even[:shift], odd[degree - shift :], True, p, rest[:shift])
    _add_and_subtract(even[shift:], odd[: degree - shift], False, p, rest[shift:])
    for i in range(degree):
        place = places[i]
        value = rest[place ^ (place >> 31)]
        image[i] = np.uint64(value if place >= 0 else p - value)
    for i in range(degree):
        image[i] = times(image[i], scale, prime)


@kernel
def _add_and_subtract(even: Residues, odd: Residues, negative: bool, p: np.uint32, rest: Residues) -> None:
    for i in range(even.size):
        moved = p - odd[i] if negative else odd[i]
        total, less = even[i] + moved, even[i] + (p - moved)
        even[i] = total - p if total >= p else total
        rest[i] = less - p if less >= p else less
