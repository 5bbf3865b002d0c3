"""Matrix products modulo 2^64 that read narrow weights as they are.

Exact: every product and sum wraps as ring elements do. The loops need no AES instructions and run everywhere.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.kernels.narrow_ring import (
    COLUMNS,
    NARROW_BITS,
    ROWS,
    has_narrow_products,
    narrow_products,
)
from protocols.kernels.processor import uses_compiled

_COLUMNS = 4096
"""Columns that are worked on at once: sums of a row take 32 KiB, and the weights of 8 rows stay in cache."""
_TORCH_ROWS = 12
"""From so many rows on torch multiplies 64-bit matrices faster than `_add_products`."""
_THREAD_ROWS = 16
"""Rows for which another thread pays."""
_WEIGHTS = (torch.int16, torch.int32, torch.int64)

Words = NDArray[np.uint64]
Weights = NDArray[np.signedinteger[Any]]


def ring_matmul(x: torch.Tensor, weight: torch.Tensor, ring_bits: int = 64) -> torch.Tensor:
    """x [..., k] times weight [k, n], modulo 2^ring_bits at least: higher bits may be anything.

    Reads the weights once for every 4096 columns, whatever the number of rows: with few rows the time is that
    of reading them, so that int16 takes a quarter of int64. One core makes some 14 G products a second, twice
    as many in rings of up to 52 bits where the processor has instructions for it (`narrow_products`).

    Args:
        x: int64 ring elements.
        weight: int16, int32 or int64, signed.
        ring_bits: of the result that is needed.

    Returns:
        int64 [..., n].
    """
    k, n = weight.shape
    rows = _rows(x, weight, k)
    if _is_narrow(rows, weight, ring_bits):
        out = torch.empty((len(rows), n), dtype=torch.int64)
        whole = len(rows) // ROWS * ROWS
        _by_rows(narrow_products, rows[:whole], weight, out[:whole])
        if whole < len(rows):
            out[whole:] = ring_matmul(rows[whole:], weight)
        return out.reshape(*x.shape[:-1], n)
    if weight.dtype == torch.int64 and len(rows) >= _TORCH_ROWS:
        return torch.matmul(x, weight)
    out = torch.zeros((len(rows), n), dtype=torch.int64)
    _by_rows(_add_products, rows, weight, out)
    return out.reshape(*x.shape[:-1], n)


def ring_matmul_transposed(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x [..., k] times the transpose of weight [n, k], modulo 2^64; types and cost as for `ring_matmul`."""
    n, k = weight.shape
    rows = _rows(x, weight, k)
    out = torch.empty((len(rows), n), dtype=torch.int64)
    _by_rows(_dot_products, rows, weight, out)
    return out.reshape(*x.shape[:-1], n)


def _by_rows(
    product: Callable[[Words, Any, Words], None], x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor
) -> None:
    """Runs a kernel on parts of x's rows, in as many threads as torch uses."""
    words, sums, factors = _words(x), _words(out), weight.contiguous().numpy()
    parts = min(torch.get_num_threads(), len(words) // _THREAD_ROWS)
    if parts < 2:
        product(words, factors, sums)
        return
    cuts = [len(words) * part // parts // ROWS * ROWS for part in range(parts)] + [len(words)]
    with ThreadPoolExecutor(parts) as pool:
        for future in [
            pool.submit(product, words[start:end], factors, sums[start:end]) for start, end in pairwise(cuts)
        ]:
            future.result()


def _is_narrow(rows: torch.Tensor, weight: torch.Tensor, ring_bits: int) -> bool:
    shaped = weight.dtype == torch.int16 and len(rows) >= ROWS and weight.shape[1] % COLUMNS == 0
    return shaped and ring_bits <= NARROW_BITS and uses_compiled() and has_narrow_products()


def _rows(x: torch.Tensor, weight: torch.Tensor, k: int) -> torch.Tensor:
    """x as a contiguous matrix [m, k]."""
    assert x.dtype == torch.int64, f"expected int64 ring elements, got {x.dtype}"
    assert weight.dtype in _WEIGHTS, f"expected int16, int32 or int64 weights, got {weight.dtype}"
    assert x.shape[-1] == k, f"expected rows of {k} elements, got {x.shape[-1]}"
    return x.reshape(x.shape[:-1].numel(), k).contiguous()


def _words(value: torch.Tensor) -> Words:
    """The same memory as unsigned words: compiled sums of signed ones must not overflow."""
    return value.numpy().view(np.uint64)


@kernel
def _add_products(x: Words, weight: Weights, out: Words) -> None:
    """out [m, n] += x [m, k] weight [k, n], eight rows of the weights at a time."""
    rows, inner = x.shape
    columns = weight.shape[1]
    eights = inner // 8 * 8
    for first in range(0, columns, _COLUMNS):
        end = min(first + _COLUMNS, columns)
        for p in range(0, eights, 8):
            for i in range(rows):
                _add_eight(x[i, p : p + 8], weight[p : p + 8], first, out[i, first:end])
        for p in range(eights, inner):
            w = weight[p, first:end]
            for i in range(rows):
                factor, sums = x[i, p], out[i, first:end]
                for j in range(sums.size):
                    sums[j] += factor * np.uint64(w[j])


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
def _dot_products(x: Words, weight: Weights, out: Words) -> None:
    """out [m, n] = x [m, k] times the transpose of weight [n, k].

    Reads four rows of the weights at a time, a quarter of the matrix apart: memory delivers four long streams
    three times as fast as rows side by side.
    """
    rows, columns = out.shape
    quarter = columns // 4
    for j in range(quarter):
        w0, w1, w2, w3 = weight[j], weight[j + quarter], weight[j + 2 * quarter], weight[j + 3 * quarter]
        for i in range(rows):
            row, sums = x[i], out[i]
            s0, s1, s2, s3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
            for p in range(row.size):
                element = row[p]
                s0 += element * np.uint64(w0[p])
                s1 += element * np.uint64(w1[p])
                s2 += element * np.uint64(w2[p])
                s3 += element * np.uint64(w3[p])
            sums[j], sums[j + quarter], sums[j + 2 * quarter], sums[j + 3 * quarter] = s0, s1, s2, s3
    for j in range(4 * quarter, columns):
        w = weight[j]
        for i in range(rows):
            row = x[i]
            total = np.uint64(0)
            for p in range(row.size):
                total += row[p] * np.uint64(w[p])
            out[i, j] = total
