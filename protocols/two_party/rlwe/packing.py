"""K ciphertexts with their results at multiples of X^K, packed into one that is full.

A tree of automorphisms: of two ciphertexts E and O whose results lie at multiples of X^(2 s),
(E + X^s O) + f(E - X^s O), with f: X -> X^(N / s + 1), has E's twice and O's twice, shifted by s; all else
cancels. (Chen, Dai, Kim, Song, ACNS 2021; BumbleBee, NDSS 2025, section IV.) What enters was
divided by K modulo q, and leaves right.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.two_party.rlwe.kernels.joining import join_ciphertexts
from protocols.two_party.rlwe.kernels.transforms import Residues, Words
from protocols.two_party.rlwe.kernels.words import with_quotient
from protocols.two_party.rlwe.keys import EvaluationKeys, key_transform
from protocols.two_party.rlwe.parameters import RlweParameters


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
    t = key_transform(keys.parameters)
    join_ciphertexts(
        first[even], second[even], first[odd], second[odd], shift, keys.packing[shift.bit_length() - 1],
        image_places(t.degree, shift), digit_factors(t.degree, keys.parameters.primes),
        t.inner, t.primes, t.folds, t.reciprocals, t.ones, t.roots, t.points,
        t.degree_inverse, t.roots_inverse, t.points_inverse,
    )  # fmt: skip


@lru_cache(maxsize=8)
def digit_factors(degree: int, primes: tuple[int, ...]) -> Words:
    """p_j / q modulo p_j, with quotients: what makes a remainder a digit."""
    modulus = math.prod(primes)
    return np.array([with_quotient(pow(modulus // p % p, -1, p), p) for p in primes], np.uint64)


@lru_cache(maxsize=32)
def image_places(degree: int, shift: int) -> NDArray[np.int32]:
    """Where X^i goes under X -> X^(N / shift + 1): j for X^j, -1 - j for -X^j."""
    powers = np.arange(degree) * (degree // shift + 1) % (2 * degree)
    return np.where(powers < degree, powers, degree - 1 - powers).astype(np.int32)
