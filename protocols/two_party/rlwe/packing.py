"""K ciphertexts with their results at multiples of X^K, packed into one that is full.

A tree of automorphisms: of two ciphertexts E and O whose results lie at multiples of X^(2 s),
(E + X^s O) + f(E - X^s O), with f: X -> X^(N / s + 1), has E's twice and O's twice, shifted by s; all else
cancels. (Chen, Dai, Kim, Song, ACNS 2021; BumbleBee, NDSS 2025, section IV.) What enters was
divided by K modulo q, and leaves right.
"""

from __future__ import annotations

import numpy as np

from protocols.kernels.jit import kernel
from protocols.two_party.rlwe.keys import EvaluationKeys, key_transform
from protocols.two_party.rlwe.parameters import RlweParameters
from protocols.two_party.rlwe.transforms import Residues, Words, forward, inverse
from protocols.two_party.rlwe.words import below, reduced, times


def pack_answers(keys: EvaluationKeys[RlweParameters], leaves: Residues) -> Residues:
    """One ciphertext [2, L, N] from the first halves of C <= K, whose second halves are zero.

    Args:
        keys: of the secret's holder.
        leaves: [K, L, N], coefficients; K a power of two. Overwritten.
    """
    count = leaves.shape[0]
    second = np.zeros_like(leaves)
    step = count // 2
    while step:
        for index in range(step):  # the results of the leaves index and index + step have distance 2 step
            join_two(keys, leaves, second, index, index + step, step)
        step //= 2
    return np.stack([leaves[0], second[0]])


def join_two(
    keys: EvaluationKeys[RlweParameters], first: Residues, second: Residues, even: int, odd: int, shift: int
) -> None:
    """Replaces ciphertext `even` by its packing with `odd`, whose results go `shift` places up."""
    t, primes = key_transform(keys.parameters), keys.parameters.primes
    parts = [keys.parameters.modulus // p for p in primes]
    digits = np.array([pow(part % p, -1, p) for part, p in zip(parts, primes, strict=True)], np.uint64)
    level = shift.bit_length() - 1
    _join(
        first[even], second[even], first[odd], second[odd], shift, keys.packing[level], digits,
        t.inner, t.primes, t.folds, t.reciprocals, t.ones, t.roots, t.points,
        t.degree_inverse, t.roots_inverse, t.points_inverse,
    )  # fmt: skip


@kernel
def _join(
    first: Residues,
    second: Residues,
    first_odd: Residues,
    second_odd: Residues,
    shift: int,
    key: Residues,
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
    """`join_two` of [L, N] each, in place of the even one."""
    count, degree = first.shape
    image = np.empty((count, degree), np.uint32)
    for j in range(count):
        _butterfly(first[j], first_odd[j], shift, primes[j], image[j])
    sums = np.zeros((2, count, degree), np.uint64)
    line, turned = np.empty(degree, np.uint64), np.empty(degree, np.uint64)
    digit = np.empty(degree, np.uint64)
    for d in range(count):
        for i in range(degree):
            digit[i] = np.uint64(image[d, i]) * digits[d]
        for i in range(degree):
            digit[i] = reduced(digit[i], primes[d], folds[d], reciprocals[d])
        for j in range(count):
            line[:] = digit
            forward(line, turned, inner, primes[j], ones[j], roots[j], points[j])
            for half in range(2):
                _add_key_products(turned, key[half, d, j], sums[half, j])
    for j in range(count):
        _butterfly(second[j], second_odd[j], shift, primes[j], image[j])
    for half in range(2):
        for j in range(count):
            prime, target = primes[j], first[j] if half == 0 else second[j]
            total = sums[half, j]
            for i in range(degree):
                turned[i] = reduced(total[i], prime, folds[j], reciprocals[j])
            inverse(turned, line, inner, prime, roots_inverse[j], points_inverse[j])
            for i in range(degree):
                value = below(times(line[i], degree_inverse[j], prime), prime) + np.uint64(target[i])
                if half == 1:
                    value = below(value, prime) + np.uint64(image[j, i])
                target[i] = np.uint32(below(value, prime))


@kernel
def _add_key_products(values: Words, key: Residues, sums: Words) -> None:
    for i in range(sums.size):
        sums[i] += values[i] * np.uint64(key[i])


@kernel
def _butterfly(even: Residues, odd: Residues, shift: int, prime: np.uint64, image: Residues) -> None:
    """even += X^s odd, and the image of even - X^s odd under X -> X^(N / s + 1)."""
    degree, p = even.size, np.uint32(prime)
    step, power, wrap = degree // shift + 1, 0, 2 * degree - 1
    for i in range(degree):
        moved = odd[i - shift] if i >= shift else (p - odd[degree + i - shift])
        if moved == p:
            moved = np.uint32(0)
        same = even[i]
        total = same + moved
        even[i] = total - p if total >= p else total
        rest = same - moved if same >= moved else same + (p - moved)
        if power >= degree:
            image[power - degree] = p - rest if rest else np.uint32(0)
        else:
            image[power] = rest
        power = (power + step) & wrap
