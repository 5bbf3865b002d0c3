"""Ring products by loops that read the weights once, as they are: with few rows the time is that of reading.

The loops need no AES instructions and run everywhere. Sums wrap modulo 2^64.

Vectors of 64-bit products are rare: processors before AVX-512 make one of three products of 32 bits. With
weights of up to 32 bits two are enough, those of the signed halves of x, x = low + 2^32 high modulo 2^64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel

_COLUMNS = 4096
"""Columns that are worked on at once: sums of a row take 32 KiB, and the weights of 8 rows stay in cache."""

Words = NDArray[np.uint64]
Weights = NDArray[np.signedinteger[Any]]


@kernel
def add_products(x: Words, weight: Weights, out: Words) -> None:
    """out [B, m, n] += x [B, m, k] weight [B, k, n], weights of 64 bits; eight of their rows at a time."""
    rows, inner = x.shape[1:]
    eights = inner // 8 * 8
    for batch in range(x.shape[0]):
        weights = weight[batch]
        for first in range(0, out.shape[2], _COLUMNS):
            end = min(first + _COLUMNS, out.shape[2])
            for p in range(0, eights, 8):
                for i in range(rows):
                    _add_eight(x[batch, i, p : p + 8], weights[p : p + 8], first, out[batch, i, first:end])
            for p in range(eights, inner):
                for i in range(rows):
                    _add_one(x[batch, i, p], weights[p, first:end], out[batch, i, first:end])


@kernel
def add_narrow_products(x: Words, weight: Weights, out: Words) -> None:
    """As `add_products`, with weights of 16 or 32 bits."""
    rows, inner = x.shape[1:]
    eights = inner // 8 * 8
    for batch in range(x.shape[0]):
        weights = weight[batch]
        for first in range(0, out.shape[2], _COLUMNS):
            end = min(first + _COLUMNS, out.shape[2])
            for p in range(0, eights, 8):
                for i in range(rows):
                    _add_eight_narrow(
                        x[batch, i, p : p + 8], weights[p : p + 8], first, out[batch, i, first:end]
                    )
            for p in range(eights, inner):
                for i in range(rows):
                    _add_one(x[batch, i, p], weights[p, first:end], out[batch, i, first:end])


@kernel
def add_dot_products(x: Words, weight: Weights, out: Words) -> None:
    """out [B, m, n] += x [B, m, k] times the transpose of weight [B, n, k]; weights of 64 bits.

    Reads four rows of the weights at a time, a quarter of the matrix apart: memory delivers four long streams
    three times as fast as rows side by side.
    """
    rows, columns = out.shape[1:]
    quarter = columns // 4
    for batch in range(x.shape[0]):
        weights = weight[batch]
        for j in range(quarter):
            w0, w1, w2, w3 = (
                weights[j],
                weights[j + quarter],
                weights[j + 2 * quarter],
                weights[j + 3 * quarter],
            )
            for i in range(rows):
                row, sums = x[batch, i], out[batch, i]
                s0, s1, s2, s3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
                for p in range(row.size):
                    element = row[p]
                    s0 += element * np.uint64(w0[p])
                    s1 += element * np.uint64(w1[p])
                    s2 += element * np.uint64(w2[p])
                    s3 += element * np.uint64(w3[p])
                sums[j] += s0
                sums[j + quarter] += s1
                sums[j + 2 * quarter] += s2
                sums[j + 3 * quarter] += s3
        _add_last(x[batch], weights, 4 * quarter, out[batch])


@kernel
def add_narrow_dot_products(x: Words, weight: Weights, out: Words) -> None:
    """As `add_dot_products`, with weights of 16 or 32 bits."""
    rows, columns = out.shape[1:]
    quarter = columns // 4
    for batch in range(x.shape[0]):
        weights = weight[batch]
        for j in range(quarter):
            w0, w1, w2, w3 = (
                weights[j],
                weights[j + quarter],
                weights[j + 2 * quarter],
                weights[j + 3 * quarter],
            )
            for i in range(rows):
                row, sums = x[batch, i], out[batch, i]
                s0, s1, s2, s3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
                h0, h1, h2, h3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
                for p in range(row.size):
                    low, high = _halves(row[p])
                    a0, a1, a2, a3 = np.uint64(w0[p]), np.uint64(w1[p]), np.uint64(w2[p]), np.uint64(w3[p])
                    s0 += low * a0
                    s1 += low * a1
                    s2 += low * a2
                    s3 += low * a3
                    h0 += high * a0
                    h1 += high * a1
                    h2 += high * a2
                    h3 += high * a3
                sums[j] += s0 + (h0 << np.uint64(32))
                sums[j + quarter] += s1 + (h1 << np.uint64(32))
                sums[j + 2 * quarter] += s2 + (h2 << np.uint64(32))
                sums[j + 3 * quarter] += s3 + (h3 << np.uint64(32))
        _add_last(x[batch], weights, 4 * quarter, out[batch])


@kernel
def _add_eight(x: Words, weight: Weights, first: int, sums: Words) -> None:
    """Adds eight elements of x times eight rows of the weights, from column `first` on."""
    end = first + sums.size
    x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
    w0, w1, w2, w3 = weight[0, first:end], weight[1, first:end], weight[2, first:end], weight[3, first:end]
    w4, w5, w6, w7 = weight[4, first:end], weight[5, first:end], weight[6, first:end], weight[7, first:end]
    for j in range(sums.size):
        low = x0 * np.uint64(w0[j]) + x1 * np.uint64(w1[j]) + x2 * np.uint64(w2[j]) + x3 * np.uint64(w3[j])
        high = x4 * np.uint64(w4[j]) + x5 * np.uint64(w5[j]) + x6 * np.uint64(w6[j]) + x7 * np.uint64(w7[j])
        sums[j] += low + high


@kernel
def _add_eight_narrow(x: Words, weight: Weights, first: int, sums: Words) -> None:
    """As `_add_eight`, by halves of x."""
    end = first + sums.size
    x0, y0 = _halves(x[0])
    x1, y1 = _halves(x[1])
    x2, y2 = _halves(x[2])
    x3, y3 = _halves(x[3])
    x4, y4 = _halves(x[4])
    x5, y5 = _halves(x[5])
    x6, y6 = _halves(x[6])
    x7, y7 = _halves(x[7])
    w0, w1, w2, w3 = weight[0, first:end], weight[1, first:end], weight[2, first:end], weight[3, first:end]
    w4, w5, w6, w7 = weight[4, first:end], weight[5, first:end], weight[6, first:end], weight[7, first:end]
    for j in range(sums.size):
        a0, a1, a2, a3 = np.uint64(w0[j]), np.uint64(w1[j]), np.uint64(w2[j]), np.uint64(w3[j])
        a4, a5, a6, a7 = np.uint64(w4[j]), np.uint64(w5[j]), np.uint64(w6[j]), np.uint64(w7[j])
        low = x0 * a0 + x1 * a1 + x2 * a2 + x3 * a3 + x4 * a4 + x5 * a5 + x6 * a6 + x7 * a7
        high = y0 * a0 + y1 * a1 + y2 * a2 + y3 * a3 + y4 * a4 + y5 * a5 + y6 * a6 + y7 * a7
        sums[j] += low + (high << np.uint64(32))


@kernel
def _halves(word: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Signed numbers of 32 bits, as words, low and high, with word = low + 2^32 high modulo 2^64."""
    low = np.uint64(np.int32(word))
    return low, np.uint64(np.int32((word - low) >> np.uint64(32)))


@kernel
def _add_one(factor: np.uint64, weight: Weights, sums: Words) -> None:
    """Adds one element of x times a row of the weights."""
    for j in range(sums.size):
        sums[j] += factor * np.uint64(weight[j])


@kernel
def _add_last(x: Words, weight: Weights, first: int, out: Words) -> None:
    """Adds x [m, k] times the rows of weight [n, k] from `first` on."""
    for j in range(first, weight.shape[0]):
        for i in range(x.shape[0]):
            total = np.uint64(0)
            for p in range(x.shape[1]):
                total += x[i, p] * np.uint64(weight[j, p])
            out[i, j] += total
