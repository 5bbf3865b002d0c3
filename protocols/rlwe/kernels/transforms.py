"""Number-theoretic transforms modulo X^N + 1 and several primes, in loops that compilers vectorise.

N = M K. A transform splits X^N + 1 into M factors X^K - z, reading K neighbours at a time, turns the numbers
around, and splits each factor into its K points, reading M factors at a time: no loop shuffles within a
vector. A polynomial of degree below K is its own remainder modulo each of the M factors.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.rlwe.kernels.butterflies import (
    join_2,
    join_4,
    join_8,
    join_16,
    join_each_2,
    join_each_4,
    join_each_8,
    join_each_16,
    split_2,
    split_4,
    split_8,
    split_16,
    split_each_2,
    split_each_4,
    split_each_8,
    split_each_16,
    turn,
)
from protocols.rlwe.kernels.words import Word, below, times, with_quotient

Words = NDArray[np.uint64]
Residues = NDArray[np.uint32]
Small = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Transform:
    """What loops need to know of N = M K and of L primes; arrays of words with their quotients.

    Attributes:
        inner: K, a power of two.
        primes, folds, reciprocals: [L], see `words`.
        ones: [L], 1.
        roots: [L, M], what splits the factors down to X^K - z.
        points: [L, K, M], what splits those further; row 0 is not used.
        roots_inverse, points_inverse: the same, inverted.
        degree_inverse: [L], 1 / N.
        inner_inverse: [L], 1 / K.
        outer_inverse: [L], 1 / M.
    """

    degree: int
    inner: int
    primes: Words
    folds: Words
    reciprocals: Words
    ones: Words
    roots: Words
    points: Words
    roots_inverse: Words
    points_inverse: Words
    degree_inverse: Words
    inner_inverse: Words
    outer_inverse: Words

    @property
    def outer(self) -> int:
        """M."""
        return self.degree // self.inner


@lru_cache(maxsize=32)
def transform_of(degree: int, inner: int, primes: tuple[int, ...]) -> Transform:
    """The tables of N = degree, K = inner and primes that are 1 modulo 2 N."""
    outer = degree // inner
    forward = [_powers(degree, prime) for prime in primes]

    def words(rows: list[list[int]]) -> Words:
        pairs = zip(rows, primes, strict=True)
        return np.array([[with_quotient(x, p) for x in row] for row, p in pairs], np.uint64)

    def of_points(table: Words) -> Words:
        """Row 2^l + s, column i: the root of part s of factor i, at level l."""
        points = np.zeros((len(primes), inner, outer), np.uint64)
        for level in range(inner.bit_length() - 1):
            parts = 1 << level
            chunk = table[:, outer * parts : 2 * outer * parts].reshape(len(primes), outer, parts)
            points[:, parts : 2 * parts] = chunk.transpose(0, 2, 1)
        return points

    table = words(forward)
    inverse = words([[pow(x, -1, p) for x in row] for row, p in zip(forward, primes, strict=True)])

    def constant(numbers: list[int]) -> Words:
        return words([[x] for x in numbers])[:, 0].copy()

    return Transform(
        degree,
        inner,
        np.array(primes, np.uint64),
        np.array([(1 << 32) % p for p in primes], np.uint64),
        np.array([(1 << 58) // p for p in primes], np.uint64),
        constant([1] * len(primes)),
        table[:, :outer].copy(),
        of_points(table),
        inverse[:, :outer].copy(),
        of_points(inverse),
        constant([pow(degree, -1, p) for p in primes]),
        constant([pow(inner, -1, p) for p in primes]),
        constant([pow(outer, -1, p) for p in primes]),
    )


def _powers(degree: int, prime: int) -> list[int]:
    """Powers of a primitive root of order 2 N, the j-th at j's reversed bits."""
    bits = degree.bit_length() - 1
    candidates = (pow(x, (prime - 1) // (2 * degree), prime) for x in range(2, prime))
    root = next(x for x in candidates if pow(x, degree, prime) == prime - 1)
    powers = [1] * degree
    for j in range(1, degree):
        powers[j] = powers[j - 1] * root % prime
    return [powers[int(f"{j:0{bits}b}"[::-1], 2)] for j in range(degree)]


def to_points(transform: Transform, values: Residues) -> Residues:
    """Values [..., L, N] of coefficients below 2 p at their points, in [0, p)."""
    flat = np.ascontiguousarray(values).reshape(-1, *values.shape[-2:])
    out = np.empty_like(flat)
    t = transform
    forward_all(flat, t.inner, t.primes, t.ones, t.roots, t.points, out)
    return out.reshape(values.shape)


def to_coefficients(transform: Transform, values: Residues) -> Residues:
    """The inverse of `to_points`."""
    flat = np.ascontiguousarray(values).reshape(-1, *values.shape[-2:])
    out = np.empty_like(flat)
    t = transform
    inverse_all(flat, t.inner, t.primes, t.degree_inverse, t.roots_inverse, t.points_inverse, out)
    return out.reshape(values.shape)


@kernel
def forward_all(
    values: Residues,
    inner: int,
    primes: Words,
    ones: Words,
    roots: Words,
    points: Words,
    out: Residues,
) -> None:
    """`to_points` of [B, L, N]."""
    degree = values.shape[2]
    line, turned = np.empty(degree, np.uint64), np.empty(degree, np.uint64)
    for each in range(values.shape[0]):
        for j in range(primes.size):
            source, target, prime = values[each, j], out[each, j], primes[j]
            for i in range(degree):
                line[i] = np.uint64(source[i])
            forward(line, turned, inner, prime, ones[j], roots[j], points[j])
            for i in range(degree):
                target[i] = np.uint32(below(times(turned[i], ones[j], prime), prime))


@kernel
def forward(
    line: Words, turned: Words, inner: int, prime: Word, one: Word, roots: Words, points: Words
) -> None:
    """One transform of coefficients below 2 p in `line` to numbers below 32 p in `turned`."""
    outer = line.size // inner
    rows, columns = line.reshape(outer, inner), turned.reshape(inner, outer)
    split_outer(rows, prime, roots)
    for i in range(line.size):
        line[i] = times(line[i], one, prime)
    turn(line, outer, inner, turned)
    split_inner(columns, prime, points)


@kernel
def split_outer(rows: Words, prime: Word, roots: Words) -> None:
    """Remainders modulo the M factors, in place; rows [M, any] below 2 p, then below (2 + 2 log2 M) p."""
    numbers, width, parts, half = rows.reshape(rows.size), rows.shape[1], 1, rows.shape[0]
    while half > 1:
        radix = _radix(half)
        step = half // radix
        for part in range(parts):
            for row in range(step):
                first = (half * part + row) * width
                if radix == 16:
                    split_16(numbers, first, step * width, width, roots, parts + part, prime)
                elif radix == 8:
                    split_8(numbers, first, step * width, width, roots, parts + part, prime)
                elif radix == 4:
                    split_4(numbers, first, step * width, width, roots, parts + part, prime)
                else:
                    split_2(numbers, first, step * width, width, roots, parts + part, prime)
        parts, half = parts * radix, step


@kernel
def _radix(rows: int) -> int:
    """Of the next pass over so many rows: 16 is the most, and 16 after it is better than 2."""
    if rows == 32:
        return 4
    if rows == 64:
        return 8
    return min(rows, 16) if rows < 128 else 8 if rows == 128 else 16


@kernel
def split_inner(columns: Words, prime: Word, points: Words) -> None:
    """Values at the points, in place; columns [K, M] below 2 p, then below (2 + 2 log2 K) p."""
    numbers, width, parts, half = columns.reshape(columns.size), columns.shape[1], 1, columns.shape[0]
    roots = points.reshape(points.size)
    while half > 1:
        radix = _radix(half)
        step = half // radix
        for part in range(parts):
            for row in range(step):
                first = (half * part + row) * width
                if radix == 16:
                    split_each_16(numbers, first, step * width, width, roots, parts + part, prime)
                elif radix == 8:
                    split_each_8(numbers, first, step * width, width, roots, parts + part, prime)
                elif radix == 4:
                    split_each_4(numbers, first, step * width, width, roots, parts + part, prime)
                else:
                    split_each_2(numbers, first, step * width, width, roots, parts + part, prime)
        parts, half = parts * radix, step


@kernel
def inverse_all(
    values: Residues,
    inner: int,
    primes: Words,
    scale: Words,
    roots: Words,
    points: Words,
    out: Residues,
) -> None:
    """Coefficients of [B, L, N], times scale N where scale is not 1 / N."""
    degree = values.shape[2]
    line, turned = np.empty(degree, np.uint64), np.empty(degree, np.uint64)
    for each in range(values.shape[0]):
        for j in range(primes.size):
            source, target, prime = values[each, j], out[each, j], primes[j]
            for i in range(degree):
                turned[i] = np.uint64(source[i])
            inverse(turned, line, inner, prime, roots[j], points[j])
            for i in range(degree):
                target[i] = np.uint32(below(times(line[i], scale[j], prime), prime))


@kernel
def inverse(turned: Words, line: Words, inner: int, prime: Word, roots: Words, points: Words) -> None:
    """One inverse transform, not yet divided by N: numbers below 2 p in `turned` to such in `line`."""
    outer = line.size // inner
    rows, columns = line.reshape(outer, inner), turned.reshape(inner, outer)
    join_inner(columns, prime, points)
    turn(turned, inner, outer, line)
    join_outer(rows, prime, roots)


@kernel
def join_inner(columns: Words, prime: Word, points: Words) -> None:
    """From values at the points, below 2 p, to K times the remainders modulo the M factors, in place."""
    numbers, width, parts, step = columns.reshape(columns.size), columns.shape[1], columns.shape[0], 1
    roots = points.reshape(points.size)
    while parts > 1:
        radix = _radix(parts)
        parts //= radix
        for part in range(parts):
            for row in range(step):
                first = (step * radix * part + row) * width
                if radix == 16:
                    join_each_16(numbers, first, step * width, width, roots, parts + part, prime)
                elif radix == 8:
                    join_each_8(numbers, first, step * width, width, roots, parts + part, prime)
                elif radix == 4:
                    join_each_4(numbers, first, step * width, width, roots, parts + part, prime)
                else:
                    join_each_2(numbers, first, step * width, width, roots, parts + part, prime)
        step *= radix


@kernel
def join_outer(rows: Words, prime: Word, roots: Words) -> None:
    """From remainders modulo the M factors, below 2 p, to M times the polynomial, in place."""
    numbers, width, parts, step = rows.reshape(rows.size), rows.shape[1], rows.shape[0], 1
    while parts > 1:
        radix = _radix(parts)
        parts //= radix
        for part in range(parts):
            for row in range(step):
                first = (step * radix * part + row) * width
                if radix == 16:
                    join_16(numbers, first, step * width, width, roots, parts + part, prime)
                elif radix == 8:
                    join_8(numbers, first, step * width, width, roots, parts + part, prime)
                elif radix == 4:
                    join_4(numbers, first, step * width, width, roots, parts + part, prime)
                else:
                    join_2(numbers, first, step * width, width, roots, parts + part, prime)
        step *= radix
