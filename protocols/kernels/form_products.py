"""Products of linear forms, element by element: what `protocols.fss.gates.polynomial` describes, in one pass.

A factor is a linear form in secrets, with a constant term or none. Shares of all products of secrets lie end
to end, in the order of the monomials. Everything is modulo 2^64. These loops need no AES: they run anywhere.

Kinds of factors, and their terms, the constant first:

    LISTED  any                      coefficients, or secrets, are given one after the other
    BIT     d = dh + (1 - 2 dh) m
    VALUE   x = xh - r
    VIEW    x = p - (r >> f) + u w   p and u from xh + 2^(n-2), w the wrap of r

A factor is described by six numbers: kind, ring bits, dropped bits, terms, whether one of them is a constant
(1) or not (0), and elements.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]

LISTED, BIT, VALUE, VIEW = range(4)
_CHUNK = 128
"""Elements that are worked on at once: all terms of them stay in the first cache."""
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@kernel
def evaluate(
    values: tuple[Words, ...],
    factors: Numbers,
    shares: Words,
    factor_columns: Numbers,
    factor_rows: Numbers,
    columns_of: Numbers,
    zeros: Numbers,
    item_rows: Numbers,
    first: int,
    rows: tuple[int, int],
    columns: tuple[int, int],
    width: int,
    out: Words,
) -> None:
    """A party's additive share of a product of factors, for some rows and columns of the result.

    Args:
        values: what is public of each factor, flat.
        factors: int64 [F, 6].
        shares: this party's, of all monomials.
        factor_columns: int64 [F]: whether a factor has a number for every column (1) or one for the row (0).
        factor_rows: int64 [F, rows]: where in its values a factor's row begins.
        columns_of: int64 [M]: whether a monomial has a share for every column.
        zeros: int64 [M]: the shares are in units of 2^zeros.
        item_rows: int64 [M, rows]: where in the shares its row begins.
        first: 1 at the party that adds what is public.
        width: columns of the result.
        out: uint64, flat.
    """
    count = factors.shape[0]
    coefficients = np.empty((count, factors[:, 3].max(), _CHUNK), np.uint64)
    leaves = np.empty((zeros.size + 1, _CHUNK), np.uint64)
    for row in range(rows[0], rows[1]):
        for start in range(columns[0], columns[1], _CHUNK):
            size = min(_CHUNK, columns[1] - start)
            total, public = 1, 1
            for f in range(count):
                step = factor_columns[f]
                where = factor_rows[f, row] + start * step
                _coefficients(values[f], factors[f], where, step, size, coefficients[f])
                total *= factors[f, 3]
                public *= factors[f, 4]
            if public:
                leaves[0, :size] = np.uint64(first)
            for m in range(zeros.size):
                _take(shares, item_rows[m, row], columns_of[m], start, zeros[m], size, leaves[m + public])
            for f in range(count - 1, -1, -1):
                terms = factors[f, 3]
                total //= terms
                for group in range(total):
                    _fold(factors[f, 0], coefficients[f], leaves, group, terms, size)
            at = row * width + start
            out[at : at + size] = leaves[0, :size]


@kernel
def _take(shares: Words, row: int, by_column: int, start: int, zeros: int, size: int, target: Words) -> None:
    """Some of a monomial's shares; a row's own is repeated."""
    shift = np.uint64(zeros)
    if zeros > 63:
        target[:size] = _ZERO
    elif by_column:
        for i in range(size):
            target[i] = shares[row + start + i] << shift
    else:
        target[:size] = shares[row] << shift


@kernel
def _fold(kind: int, coefficients: Words, leaves: Words, group: int, terms: int, size: int) -> None:
    """leaves[group] = the sum over a factor's terms of coefficient times leaf."""
    first = group * terms
    if kind == VIEW:  # coefficients p, -1, and 0 or 1
        for i in range(size):
            leaves[group, i] = (
                coefficients[0, i] * leaves[first, i]
                - leaves[first + 1, i]
                + (leaves[first + 2, i] & (_ZERO - coefficients[2, i]))
            )
    elif terms == 2:
        for i in range(size):
            leaves[group, i] = (
                coefficients[0, i] * leaves[first, i] + coefficients[1, i] * leaves[first + 1, i]
            )
    else:
        for i in range(size):
            leaves[group, i] = coefficients[0, i] * leaves[first, i]
        for t in range(1, terms):
            for i in range(size):
                leaves[group, i] += coefficients[t, i] * leaves[first + t, i]


@kernel
def _coefficients(value: Words, factor: Numbers, where: int, step: int, size: int, out: Words) -> None:
    """A factor's coefficients at some elements of a row."""
    kind, ring, drop = factor[0], np.uint64(factor[1]), np.uint64(factor[2])
    if kind == LISTED:
        for t in range(factor[3]):
            for i in range(size):
                out[t, i] = value[t * factor[5] + where + step * i]
    elif kind == BIT:
        for i in range(size):
            bit = value[where + step * i] & _ONE
            out[0, i] = bit
            out[1, i] = _ONE - (bit << _ONE)
    elif kind == VALUE:
        for i in range(size):
            out[0, i] = value[where + step * i]
            out[1, i] = ~_ZERO
    elif kind == VIEW:
        quarter, mask = _ONE << (ring - np.uint64(2)), ~_ZERO >> (np.uint64(64) - ring)
        for i in range(size):
            shifted = (value[where + step * i] + quarter) & mask
            out[0, i] = (shifted >> drop) - (quarter >> drop)
            out[2, i] = (shifted >> (ring - _ONE)) ^ _ONE


@kernel
def share_out(
    values: tuple[Words, ...],
    factors: Numbers,
    factor_columns: Numbers,
    factor_rows: Numbers,
    choices: Numbers,
    columns_of: Numbers,
    zeros: Numbers,
    item_rows: Numbers,
    fresh: NDArray[np.bool_],
    rows: tuple[int, int],
    columns: tuple[int, int],
    shares: Words,
) -> None:
    """The dealer's step: what the server's shares of all monomials are, in place of the client's.

    Args:
        values: the mask of each factor, flat, or its secrets.
        choices: int64 [M, F]: which term of each factor a monomial takes, 0 for a constant.
        fresh: [M, rows]: false where an earlier row has the same elements of a monomial.
        shares: the client's, of all monomials; becomes secret minus client's, both in units of 2^zeros.
        factors, factor_columns, factor_rows, columns_of, zeros, item_rows, rows, columns: as for `evaluate`.
    """
    known = np.empty((factors.shape[0], factors[:, 3].max() + 1, _CHUNK), np.uint64)
    product = np.empty(_CHUNK, np.uint64)
    for row in range(rows[0], rows[1]):
        for start in range(columns[0], columns[1], _CHUNK):
            size = min(_CHUNK, columns[1] - start)
            for f in range(factors.shape[0]):
                step = factor_columns[f]
                _secrets(values[f], factors[f], factor_rows[f, row] + start * step, step, size, known[f])
            for m in range(choices.shape[0]):
                if not fresh[m, row] or (start > 0 and not columns_of[m]):
                    continue
                length = size if columns_of[m] else 1
                where = item_rows[m, row] + start * columns_of[m]
                product[:length] = _ONE
                for f in range(factors.shape[0]):
                    if choices[m, f]:
                        term = known[f, choices[m, f]]
                        for i in range(length):
                            product[i] *= term[i]
                shift = np.uint64(min(zeros[m], 63))
                for i in range(length):
                    shares[where + i] = (product[i] >> shift) - shares[where + i]


@kernel
def _secrets(value: Words, factor: Numbers, where: int, step: int, size: int, out: Words) -> None:
    """A factor's secrets at some elements of a row, from term 1 on."""
    kind, ring, drop = factor[0], np.uint64(factor[1]), np.uint64(factor[2])
    if kind == LISTED:
        for t in range(factor[3] - factor[4]):
            for i in range(size):
                out[t + 1, i] = value[t * factor[5] + where + step * i]
    elif kind == BIT:
        for i in range(size):
            out[1, i] = value[where + step * i] & _ONE
    elif kind == VIEW:
        mask = ~_ZERO >> (np.uint64(64) - ring)
        for i in range(size):
            secret = value[where + step * i] & mask
            out[1, i] = secret >> drop
            out[2, i] = ((secret >> (ring - _ONE)) << (ring - drop - _ONE)) << _ONE
    else:
        for i in range(size):
            out[1, i] = value[where + step * i]
