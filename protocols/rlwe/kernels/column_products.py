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
from protocols.rlwe.kernels.butterflies import (
    SUBTREE,
    add_column_part_32,
    add_column_part_64,
    add_column_part_128,
    add_column_part_256,
    add_dots,
)
from protocols.rlwe.kernels.transforms import Residues, Words
from protocols.rlwe.kernels.words import Word, folded, reduced

FACTORS = 32
"""Factors of X^N + 1 that are done at a time, so that sums stay in the first cache."""
_TERMS = 32
"""Products below 2^59 that are added before they are folded."""


@kernel
def column_products(
    first: Residues,
    second: Residues,
    weights: Residues,
    prime: Word,
    fold: Word,
    reciprocal: Word,
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
    sums, dots = np.empty(inner * width, np.uint64), np.empty(width, np.uint64)
    for start in range(0, outer, width):
        near = points[:, start : start + width].copy().reshape(inner * width)
        factors = first[:, :, start : start + width].copy().reshape(first.shape[0], inner * width)
        rows = second[:, :, start : start + width].copy().reshape(first.shape[0], inner * width)
        for column in range(weights.shape[0]):
            sums[:] = np.uint64(0)
            dots[:] = np.uint64(0)
            for part in range(weights.shape[1]):
                line = weights[column, part]
                _add_part(line, width, near, factors[part], sums, prime)
                add_dots(line, width, rows[part], dots)
                _fold(dots, fold)
                if part % _TERMS == _TERMS - 1:
                    _fold(sums, fold)
            for row in range(inner):
                total, out = (
                    sums[row * width : (row + 1) * width],
                    first_out[column, row, start : start + width],
                )
                _reduce(total, prime, fold, reciprocal, out)
            _reduce(dots, prime, fold, reciprocal, second_out[column, start : start + width])


@kernel
def _add_part(line: Residues, width: int, points: Words, factors: Residues, sums: Words, prime: Word) -> None:
    """Adds the values of a column's part times those of a ciphertext."""
    nodes = line.size // SUBTREE
    for part in range(nodes):
        first, last = part * SUBTREE * width, (part + 1) * SUBTREE * width
        factor, total = factors[first:last], sums[first:last]
        if nodes == 1:
            add_column_part_32(line, nodes + part, width, points, factor, total, prime)
        elif nodes == 2:
            add_column_part_64(line, nodes + part, width, points, factor, total, prime)
        elif nodes == 4:
            add_column_part_128(line, nodes + part, width, points, factor, total, prime)
        else:
            add_column_part_256(line, nodes + part, width, points, factor, total, prime)


@kernel
def _fold(sums: Words, fold: Word) -> None:
    for i in range(sums.size):
        sums[i] = folded(sums[i], fold)


@kernel
def _reduce(sums: Words, prime: Word, fold: Word, reciprocal: Word, out: Residues) -> None:
    for i in range(sums.size):
        out[i] = np.uint32(reduced(sums[i], prime, fold, reciprocal))
