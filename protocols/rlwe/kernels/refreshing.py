"""Fresh encryptions of zero on products, and their second halves from remainders to coefficients."""

from __future__ import annotations

import numpy as np

from protocols.kernels.jit import kernel
from protocols.rlwe.kernels.butterflies import LANES
from protocols.rlwe.kernels.transforms import (
    Residues,
    Small,
    Transform,
    Words,
    forward,
    inverse,
    join_outer,
    split_outer,
)
from protocols.rlwe.kernels.words import below, folded, reduced, times

_TERMS = 32


def dot_rows(transform: Transform, second: Residues) -> Residues:
    """Second halves [D, L, N], coefficients, as `column_products` multiplies them: [D, L, K, M].

    Of w times b modulo X^K - z, the coefficient at X^0 is w_0 b_0 + z (w_1 b_(K-1) + ... + w_(K-1) b_1).
    """
    t = transform
    out = np.empty((*second.shape[:2], t.inner, t.outer), np.uint32)
    _dot_rows(np.ascontiguousarray(second), t.primes, t.folds, t.reciprocals, t.ones, t.roots, t.points, out)
    return out


@kernel
def _dot_rows(
    second: Residues,
    primes: Words,
    folds: Words,
    reciprocals: Words,
    ones: Words,
    roots: Words,
    points: Words,
    out: Residues,
) -> None:
    inner, outer = out.shape[2], out.shape[3]
    rows = np.empty((outer, inner), np.uint64)
    for part in range(second.shape[0]):
        for j in range(primes.size):
            prime, source, target = primes[j], second[part, j].reshape(outer, inner), out[part, j]
            for i in range(outer):
                for column in range(inner):
                    rows[i, column] = np.uint64(source[i, column])
            split_outer(rows, prime, roots[j])
            for i in range(outer):
                target[0, i] = np.uint32(below(times(rows[i, 0], ones[j], prime), prime))
                for column in range(1, inner):
                    root = times(points[j, 1, i], points[j, 1, i], prime)  # z, the square of what splits it
                    value = reduced(root * rows[i, inner - column], prime, folds[j], reciprocals[j])
                    target[column, i] = np.uint32(value)


def add_zeros(
    transform: Transform,
    zero: Residues,
    first: Residues,
    dots: Residues,
    random: Small,
    noise: Small,
    leaves: Residues,
) -> None:
    """Adds to each of C products a fresh encryption of zero, but for the errors of its second half.

    Args:
        zero: [2, L, N], the encryption of zero at the transform's points.
        first: [L, C, K, M], values of first halves.
        dots: [L, C, M], remainders of second halves at degree 0; added to, in place.
        random: [C, N], ternary: what zero is multiplied with.
        noise: [C, N], errors of the first halves.
        leaves: [>= C, L, N], gets coefficients of first halves, divided by K.
    """
    t = transform
    _add_zeros(
        zero, first, dots, random, noise, leaves,
        t.primes, t.folds, t.reciprocals, t.ones, t.roots, t.points,
        t.degree_inverse, t.inner_inverse, t.roots_inverse, t.points_inverse,
    )  # fmt: skip


@kernel
def _add_zeros(
    zero: Residues,
    first: Residues,
    dots: Residues,
    random: Small,
    noise: Small,
    leaves: Residues,
    primes: Words,
    folds: Words,
    reciprocals: Words,
    ones: Words,
    roots: Words,
    points: Words,
    degree_inverse: Words,
    inner_inverse: Words,
    roots_inverse: Words,
    points_inverse: Words,
) -> None:
    columns, degree, inner = random.shape[0], random.shape[1], first.shape[2]
    outer = degree // inner
    line, turned = np.empty(degree, np.uint64), np.empty(degree, np.uint64)
    totals = np.empty(outer, np.uint64)
    for column in range(columns):
        for j in range(primes.size):
            prime, fold, reciprocal = primes[j], folds[j], reciprocals[j]
            small, values = random[column], first[j, column].reshape(degree)
            for i in range(degree):
                line[i] = np.uint64(np.int64(prime) + np.int64(small[i]))
            forward(line, turned, inner, prime, ones[j], roots[j], points[j])
            _add_means(turned.reshape(inner, outer), zero[1, j].reshape(inner, outer), fold, totals)
            for i in range(outer):
                mean = times(reduced(totals[i], prime, fold, reciprocal), inner_inverse[j], prime)
                dots[j, column, i] = np.uint32(
                    below(below(mean, prime) + np.uint64(dots[j, column, i]), prime)
                )
            half = zero[0, j]
            for i in range(degree):
                product = turned[i] * np.uint64(half[i]) + np.uint64(values[i])
                turned[i] = reduced(product, prime, fold, reciprocal)
            inverse(turned, line, inner, prime, roots_inverse[j], points_inverse[j])
            extra, leaf = noise[column], leaves[column, j]
            for i in range(degree):
                shifted = np.uint64(np.int64(prime) + np.int64(extra[i]))
                value = times(line[i], degree_inverse[j], prime) + shifted
                leaf[i] = np.uint32(below(times(value, inner_inverse[j], prime), prime))


@kernel
def _add_means(values: Words, zero: Residues, fold: np.uint64, totals: Words) -> None:
    """Sums over the points of each factor, which are K times the remainder at degree 0."""
    totals[:] = np.uint64(0)
    for row in range(values.shape[0]):
        value, factor = values[row], zero[row]
        for i in range(totals.size):
            totals[i] += value[i] * np.uint64(factor[i])
        if row % _TERMS == _TERMS - 1:
            for i in range(totals.size):
                totals[i] = folded(totals[i], fold)


def joined(transform: Transform, dots: Residues) -> Residues:
    """From remainders [L, C, M] at degree 0 to the coefficients at multiples of X^K: [L, M, C]."""
    t = transform
    out = np.empty((dots.shape[0], dots.shape[2], dots.shape[1]), np.uint32)
    padded = -(-dots.shape[1] // LANES) * LANES
    for j, target in enumerate(out):
        rows = np.zeros((dots.shape[2], padded), np.uint64)
        rows[:, : dots.shape[1]] = dots[j].T
        _join(rows, t.primes[j], t.roots_inverse[j], t.outer_inverse[j], target)
    return out


@kernel
def _join(rows: Words, prime: np.uint64, roots: Words, scale: np.uint64, out: Residues) -> None:
    join_outer(rows, prime, roots)
    for i in range(out.shape[0]):
        for column in range(out.shape[1]):
            out[i, column] = np.uint32(below(times(rows[i, column], scale, prime), prime))
