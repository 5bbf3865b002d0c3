"""Products of linear forms, element by element: what `protocols.fss.polynomial` describes, in one pass.

A factor has a constant term or none, and one or two secrets; its coefficients follow from what is public of
it. Secrets of all products lie end to end, in the order of the monomials. Everything is modulo 2^64. No
instructions beyond integers': these loops run everywhere.

Kinds of factors, and their terms, the constant first:

    SIGN    s                        coefficient 1; no constant
    BIT     d = dh + (1 - 2 dh) m
    VALUE   x = xh - r
    VIEW    x = p - (r >> f) + u w   p and u from xh + 2^(n-2), w the wrap of r
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]

SIGN, BIT, VALUE, VIEW = range(4)
_TERMS = 3
_CHUNK = 128
"""Elements that are worked on at once: all terms of them stay in the first cache."""
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@kernel
def terms_of(kind: int) -> int:
    """How many terms a factor has."""
    return 1 if kind == SIGN else (3 if kind == VIEW else 2)


@kernel
def evaluate(
    values: tuple[Words, ...],
    factors: Numbers,
    factor_rows: Numbers,
    secrets: Words,
    items: Numbers,
    item_rows: Numbers,
    first: int,
    rows: tuple[int, int],
    columns: tuple[int, int],
    width: int,
    out: Words,
) -> None:
    """A party's additive share of a product of factors, for some rows and columns of the result.

    Args:
        values: what is public of each factor, flat; anything for a sign.
        factors: int64 [F, 4]: kind, ring bits, dropped bits, and whether there is a number for every column
            (1) or one for the row (0).
        factor_rows: int64 [F, rows]: where in its values a factor's row begins.
        secrets: this party's shares of all monomials, end to end.
        items: int64 [M]: whether a monomial has a share for every column.
        item_rows: int64 [M, rows]: where in the shares its row begins.
        first: 1 at the party that adds what is public.
        width: columns of the result.
        out: uint64, flat.
    """
    count = factors.shape[0]
    coefficients = np.empty((count, _TERMS, _CHUNK), np.uint64)
    leaves = np.empty((items.shape[0] + 1, _CHUNK), np.uint64)
    for row in range(rows[0], rows[1]):
        for start in range(columns[0], columns[1], _CHUNK):
            size = min(_CHUNK, columns[1] - start)
            total, public = 1, True
            for f in range(count):
                where = factor_rows[f, row] + start * factors[f, 3]
                _coefficients(values[f], factors[f], where, size, coefficients[f])
                total *= terms_of(factors[f, 0])
                public = public and factors[f, 0] != SIGN
            skipped = 1 if public else 0
            for m in range(total):
                if m < skipped:
                    leaves[m, :size] = np.uint64(first)
                else:
                    where = item_rows[m - skipped, row]
                    if items[m - skipped]:
                        leaves[m, :size] = secrets[where + start : where + start + size]
                    else:
                        leaves[m, :size] = secrets[where]
            for f in range(count - 1, -1, -1):
                terms = terms_of(factors[f, 0])
                total //= terms
                if terms > 1:
                    for group in range(total):
                        _fold(coefficients[f], leaves, group, terms, size)
            at = row * width + start
            out[at : at + size] = leaves[0, :size]


@kernel
def _fold(coefficients: Words, leaves: Words, group: int, terms: int, size: int) -> None:
    """leaves[group] = the sum over a factor's terms of coefficient times leaf."""
    first = group * terms
    if terms == 2:
        for i in range(size):
            leaves[group, i] = (
                coefficients[0, i] * leaves[first, i] + coefficients[1, i] * leaves[first + 1, i]
            )
    else:  # the middle term of a view has coefficient -1
        for i in range(size):
            leaves[group, i] = (
                coefficients[0, i] * leaves[first, i]
                - leaves[first + 1, i]
                + (leaves[first + 2, i] & (_ZERO - coefficients[2, i]))
            )


@kernel
def _coefficients(value: Words, factor: Numbers, where: int, size: int, out: Words) -> None:
    """A factor's coefficients at some elements of a row."""
    kind, ring, drop, step = factor[0], np.uint64(factor[1]), np.uint64(factor[2]), factor[3]
    if kind == BIT:
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
    factor_rows: Numbers,
    choices: Numbers,
    items: Numbers,
    item_rows: Numbers,
    fresh: NDArray[np.bool_],
    rows: tuple[int, int],
    columns: tuple[int, int],
    shares: Words,
) -> None:
    """The dealer's step: what the server's shares of all monomials are, in place of the client's.

    Args:
        values: the mask of each factor, flat; the sign itself for a sign.
        choices: int64 [M, F]: which term of each factor a monomial takes, 0 for a constant.
        fresh: [M, rows]: false where an earlier row has the same elements of a monomial.
        factors, factor_rows, items, item_rows, rows, columns: as for `evaluate`.
        shares: the client's shares, end to end; becomes secret minus client's.
    """
    known = np.empty((factors.shape[0], _TERMS, _CHUNK), np.uint64)
    product = np.empty(_CHUNK, np.uint64)
    for row in range(rows[0], rows[1]):
        for start in range(columns[0], columns[1], _CHUNK):
            size = min(_CHUNK, columns[1] - start)
            for f in range(factors.shape[0]):
                where = factor_rows[f, row] + start * factors[f, 3]
                _secrets(values[f], factors[f], where, size, known[f])
            for m in range(choices.shape[0]):
                if not fresh[m, row] or (start > 0 and not items[m]):
                    continue
                length = size if items[m] else 1
                where = item_rows[m, row] + start * items[m]
                product[:length] = _ONE
                for f in range(factors.shape[0]):
                    if choices[m, f]:
                        term = known[f, choices[m, f]]
                        for i in range(length):
                            product[i] *= term[i]
                for i in range(length):
                    shares[where + i] = product[i] - shares[where + i]


@kernel
def _secrets(value: Words, factor: Numbers, where: int, size: int, out: Words) -> None:
    """A factor's secrets at some elements of a row, from term 1 on."""
    kind, ring, drop, step = factor[0], np.uint64(factor[1]), np.uint64(factor[2]), factor[3]
    if kind == BIT:
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
