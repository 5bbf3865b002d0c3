"""Ciphertexts times columns of a matrix: the loops in which the server's time goes.

A ciphertext holds A[i, j] at X^(i K - j), a column's part w has w_j at X^j, j < K: their product has the
column's sums at X^(i K). Of the half that is sent as a seed all points are needed, so the column is
evaluated at them; being of degree below K it takes log2 K levels and not log2 N. Of the other half only the
coefficients at X^(i K) are needed: dot products of the column, as it is, with that half's remainders modulo
the M factors.
"""

from __future__ import annotations

import numpy as np

from protocols.kernels.jit import kernel
from protocols.two_party.rlwe.transforms import Residues, Words
from protocols.two_party.rlwe.words import LOW, folded, reduced, times

FACTORS = 128
"""Factors of X^N + 1 that are done at a time, so that sums stay in the first cache."""
_TERMS = 32
"""Products below 2^59 that are added before they are folded."""


@kernel
def column_products(
    first: Residues,
    second: Residues,
    weights: Residues,
    prime: np.uint64,
    fold: np.uint64,
    reciprocal: np.uint64,
    points: Words,
    first_out: Residues,
    second_out: Residues,
) -> None:
    """Sums over D ciphertexts of their products with each of C columns, modulo one prime.

    Args:
        first: [D, K, M], values of the seeded halves at all points.
        second: [D, K, M], rows such that row j is what w_j is multiplied with, see `dot_rows`.
        weights: [C, D, K], in [0, p).
        points: [K, M], of a transform.
        first_out: [C, K, M], values, in [0, p).
        second_out: [C, M], remainders modulo the M factors at degree 0, in [0, p).
    """
    inner, outer = first.shape[1], first.shape[2]
    width = min(outer, FACTORS)
    sums, dots = np.empty((inner, width), np.uint64), np.empty(width, np.uint64)
    values = np.empty((inner, width), np.uint64)
    near = np.empty((inner, width), np.uint64)
    for start in range(0, outer, width):
        near[:] = points[:, start : start + width]
        for column in range(weights.shape[0]):
            sums[:] = np.uint64(0)
            dots[:] = np.uint64(0)
            for part in range(weights.shape[1]):
                line = weights[column, part]
                _evaluate(line, prime, near, values)
                _add_products(values, first[part, :, start : start + width], sums)
                _add_dots(line, second[part, :, start : start + width], dots)
                _fold(dots, fold)
                if part % _TERMS == _TERMS - 1:
                    for row in range(inner):
                        _fold(sums[row], fold)
            for row in range(inner):
                _reduce(sums[row], prime, fold, reciprocal, first_out[column, row, start : start + width])
            _reduce(dots, prime, fold, reciprocal, second_out[column, start : start + width])


@kernel
def _evaluate(line: Residues, prime: np.uint64, points: Words, values: Words) -> None:
    """The column's part at the points of some factors: numbers below (1 + 2 log2 K) p."""
    half = line.size // 2
    for row in range(half):
        _spread(line[row], line[row + half], points[1], prime, values[row], values[row + half])
    parts, half = 2, half // 2
    while half:
        for part in range(parts):
            for row in range(2 * half * part, 2 * half * part + half):
                _split_each(values[row], values[row + half], points[parts + part], prime)
        parts, half = 2 * parts, half // 2


@kernel
def _spread(low: np.uint32, high: np.uint32, roots: Words, prime: np.uint64, u: Words, v: Words) -> None:
    twice, same, other = prime + prime, np.uint64(low), np.uint64(high)
    for i in range(u.size):
        product = times(other, roots[i], prime)
        u[i] = same + product
        v[i] = same + (twice - product)


@kernel
def _split_each(u: Words, v: Words, roots: Words, prime: np.uint64) -> None:
    twice = prime + prime
    for i in range(u.size):
        product = times(v[i], roots[i], prime)
        low = u[i]
        u[i] = low + product
        v[i] = low + (twice - product)


@kernel
def _add_products(values: Words, factors: Residues, sums: Words) -> None:
    for row in range(values.shape[0]):
        value, factor, total = values[row], factors[row], sums[row]
        for i in range(total.size):
            total[i] += (value[i] & LOW) * np.uint64(factor[i])


@kernel
def _add_dots(line: Residues, rows: Residues, dots: Words) -> None:
    for j in range(line.size):
        weight, row = np.uint64(line[j]), rows[j]
        for i in range(dots.size):
            dots[i] += weight * np.uint64(row[i])


@kernel
def _fold(sums: Words, fold: np.uint64) -> None:
    for i in range(sums.size):
        sums[i] = folded(sums[i], fold)


@kernel
def _reduce(sums: Words, prime: np.uint64, fold: np.uint64, reciprocal: np.uint64, out: Residues) -> None:
    for i in range(sums.size):
        out[i] = np.uint32(reduced(sums[i], prime, fold, reciprocal))
