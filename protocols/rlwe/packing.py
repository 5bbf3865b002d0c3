"""K ciphertexts with their results at multiples of X^K, packed into one that is full.

A tree of automorphisms: of two ciphertexts E and O whose results lie at multiples of X^(2 s),
(E + X^s O) + f(E - X^s O), with f: X -> X^(N / s + 1), has E's twice and O's twice, shifted by s; all else
cancels. (Chen, Dai, Kim, Song, ACNS 2021; BumbleBee, NDSS 2025, section IV.) What enters was
divided by K modulo q, and leaves right.

First halves are kept as coefficients, of which digits are taken; second halves at their points, where an
automorphism only moves numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.rlwe.kernels.joining import join_ciphertexts
from protocols.rlwe.kernels.transforms import Residues, Words, to_coefficients, to_points
from protocols.rlwe.kernels.words import HALF, with_quotient
from protocols.rlwe.keys import EvaluationKeys, digit_span, key_transform, transform_for
from protocols.rlwe.parameters import RlweParameters


def pack_answers(keys: EvaluationKeys[RlweParameters], leaves: Residues, columns: int) -> Residues:
    """One ciphertext [2, L, N] from the first halves of C <= K, whose second halves are zero.

    Args:
        keys: of the secret's holder.
        leaves: [K, L, N], coefficients; K a power of two. Overwritten.
        columns: C; those after them are zero.
    """
    count = leaves.shape[0]
    second = np.zeros((max(1, count // 2), *leaves.shape[1:]), np.uint32)
    zero = np.zeros_like(leaves[0])
    step = count // 2
    while step:
        for index in range(
            min(step, columns)
        ):  # the results of the leaves index and index + step have distance 2 step
            odd = zero if 2 * step == count else second[index + step]
            join_two(keys, (leaves[index], second[index]), (leaves[index + step], odd), step)
        step //= 2
    return np.stack([leaves[0], to_coefficients(key_transform(keys.parameters), second[0])])


def join_two(
    keys: EvaluationKeys[RlweParameters],
    even: tuple[Residues, Residues],
    odd: tuple[Residues, Residues],
    shift: int,
) -> None:
    """Replaces ciphertext `even` by its packing with `odd`, whose results go `shift` places up."""
    p, t = keys.parameters, key_transform(keys.parameters)
    cut = digit_cut(p)
    join_ciphertexts(
        *even, *odd, shift, keys.packing[shift.bit_length() - 1],
        image_places(t.degree, shift), image_points(t.degree, p.primes, shift),
        powers(t.degree, p.primes, shift),
        cut.spans, cut.scales, cut.radixes, cut.inverses,
        t.inner, t.primes, t.folds, t.reciprocals, t.ones, t.roots, t.points,
        t.degree_inverse, t.roots_inverse, t.points_inverse,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class DigitCut:
    """How a number is cut into D digits, each modulo a product Q_d of up to W primes; words with quotients.

    Attributes:
        spans: [D + 1], the first prime of each digit.
        scales: [L], Q_d / q modulo each prime of digit d.
        radixes: [D, W, L], the product of the first so many primes of a digit, modulo each prime.
        inverses: [D, W], the inverse of that product modulo the digit's next prime.
    """

    spans: NDArray[np.int64]
    scales: Words
    radixes: Words
    inverses: Words


@lru_cache(maxsize=8)
def digit_cut(parameters: RlweParameters) -> DigitCut:
    """The cut for these parameters."""
    primes, width = parameters.primes, parameters.digit_primes
    spans, scales = [0], list[int]()
    radixes = np.zeros((parameters.digits, width, len(primes)), np.uint64)
    inverses = np.zeros((parameters.digits, width), np.uint64)
    for digit in range(parameters.digits):
        first, end, rest = digit_span(parameters, digit)
        scales += [with_quotient(pow(rest % p, -1, p), p) for p in primes[first:end]]
        product = 1
        for place, prime in enumerate(primes[first:end]):
            radixes[digit, place] = [with_quotient(product % p, p) for p in primes]
            inverses[digit, place] = with_quotient(pow(product, -1, prime), prime)
            product *= prime
        spans.append(end)
    return DigitCut(np.array(spans), np.array(scales, np.uint64), radixes, inverses)


@lru_cache(maxsize=32)
def image_places(degree: int, shift: int) -> NDArray[np.int32]:
    """What X -> X^(N / shift + 1) takes to X^i: j for X^j, -1 - j for -X^j."""
    powers = np.arange(degree)
    images = powers * (degree // shift + 1) % (2 * degree)
    sources = np.empty(degree, np.int32)
    sources[images % degree] = np.where(images < degree, powers, -1 - powers)
    return sources


@lru_cache(maxsize=32)
def image_points(degree: int, primes: tuple[int, ...], shift: int) -> NDArray[np.int32]:
    """Whose value the image under X -> X^(N / shift + 1) has at each point of `key_transform`."""
    exponents = _exponents(degree, primes[0])
    place = np.empty(2 * degree, np.int32)
    place[exponents] = np.arange(degree, dtype=np.int32)
    return place[exponents * (degree // shift + 1) % (2 * degree)]


@lru_cache(maxsize=32)
def powers(degree: int, primes: tuple[int, ...], shift: int) -> Words:
    """X^shift at every point, [L, N], with quotients."""
    values = _power(degree, primes, shift).astype(np.uint64)
    return values | (values << HALF) // np.array(primes, np.uint64)[:, None] << HALF


def _power(degree: int, primes: tuple[int, ...], exponent: int) -> Residues:
    """X^exponent at its points: [L, N]."""
    coefficients = np.zeros((len(primes), degree), np.uint32)
    coefficients[:, exponent] = 1
    return to_points(transform_for(degree, primes), coefficients)


@lru_cache(maxsize=4)
def _exponents(degree: int, prime: int) -> NDArray[np.int64]:
    """Which power of the first point each point is; all are odd. Of all primes the same."""
    points = _power(degree, (prime,), 1)[0].tolist()
    logarithms, power = dict[int, int](), 1
    for exponent in range(2 * degree):
        logarithms[power] = exponent
        power = power * points[0] % prime
    return np.array([logarithms[point] for point in points])
