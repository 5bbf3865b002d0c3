"""Matrix products of ring elements, exact: every product and sum wraps as ring elements do.

Three ways, between which shapes, ring and processor decide, by the rates that were measured:

* rings of up to 52 bits on processors with AVX-512 IFMA: its multiply-add (`narrow_ring.py`);
* many rows, and few products of limbs: float64 BLAS (`float_products.py`);
* else loops that read the weights once, as they are (`row_products.py`), or torch's integers where the
  processor has vector products of words. Few rows are bound by reading; and six products of limbs take
  longer than three of half words.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.kernels.float_products import float_products
from protocols.kernels.limbs import best_split
from protocols.kernels.narrow_ring import (
    COLUMNS,
    NARROW_BITS,
    ROWS,
    has_narrow_products,
    narrow_products,
)
from protocols.kernels.parallel import run_together
from protocols.kernels.processor import target_features, uses_compiled
from protocols.kernels.row_products import (
    add_dot_products,
    add_narrow_dot_products,
    add_narrow_products,
    add_products,
)

_FLOAT_PRODUCTS = {torch.int16: 2, torch.int32: 2, torch.int64: 3}
"""Up to so many products of limbs are faster than the loops, by the type of the weights."""
_FLOAT_ROWS = {torch.int16: 24, torch.int32: 24, torch.int64: 32}
"""Limbs pay from so many rows on: splitting weights takes as long as multiplying them with some rows."""
_WIDE_FLOAT_ROWS = 8
"""The same for narrow weights, where float registers have 512 bits."""
_TORCH_ROWS = 12
"""From so many rows on torch multiplies words faster than the loops, where the processor can."""
_THREAD_ROWS = 16
"""Rows for which another thread pays."""
_PADDED_ROWS = 3
"""So many rows left over are worth a tile of their own, padded with zeros."""
_COPIED = 1 << 18
"""Transposed matrices of so many elements are copied, for tiles; larger ones are read as they lie."""
_WEIGHTS = (torch.int16, torch.int32, torch.int64)

_LOOPS = {
    (True, False): add_products,
    (True, True): add_dot_products,
    (False, False): add_narrow_products,
    (False, True): add_narrow_dot_products,
}
"""Keys: whether the weights have 64 bits, and whether they are transposed."""

Words = NDArray[np.uint64]


def ring_matmul(x: torch.Tensor, weight: torch.Tensor, ring_bits: int = 64) -> torch.Tensor:
    """x [..., k] times weight [k, n], modulo 2^ring_bits at least: higher bits may be anything.

    With few rows the time is that of reading the weights, so that int16 takes a quarter of int64. With many,
    a core with AVX2 makes some 9 G products a second of int16, of int64 5 G in rings of up to 48 bits and 4 G
    in rings of 64; one with AVX-512 IFMA 20 G in rings of up to 52 bits. Needs at most 12 MiB besides
    arguments and result, and a copy of arguments that are not contiguous.

    Args:
        x: int64 ring elements.
        weight: int16, int32 or int64, signed.
        ring_bits: of the result that is needed, 1 to 64.

    Returns:
        int64 [..., n].
    """
    _check(x, weight, weight.shape[0])
    rows = x.reshape(1, x.shape[:-1].numel(), x.shape[-1])
    return _product(rows, weight[None], ring_bits).reshape(*x.shape[:-1], weight.shape[1])


def ring_matmul_transposed(x: torch.Tensor, weight: torch.Tensor, ring_bits: int = 64) -> torch.Tensor:
    """x [..., k] times the transpose of weight [n, k]; else as `ring_matmul`."""
    return ring_matmul(x, weight.T, ring_bits)


def ring_bmm(x: torch.Tensor, y: torch.Tensor, ring_bits: int = 64) -> torch.Tensor:
    """x [..., m, k] times y [..., k, n], whose leading dimensions broadcast; else as `ring_matmul`.

    y may be a transposed view of contiguous matrices [..., n, k]: it is read as it lies.
    """
    _check(x, y, y.shape[-2])
    if y.dim() == 2:
        return ring_matmul(x, y, ring_bits)
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    left, right = (
        factor.expand(*batch, *factor.shape[-2:]).reshape(math.prod(batch), *factor.shape[-2:])
        for factor in (x, y)
    )
    return _product(left, right, ring_bits).reshape(*batch, x.shape[-2], y.shape[-1])


def _check(x: torch.Tensor, weight: torch.Tensor, k: int) -> None:
    assert x.dtype == torch.int64, f"expected int64 ring elements, got {x.dtype}"
    assert weight.dtype in _WEIGHTS, f"expected int16, int32 or int64 weights, got {weight.dtype}"
    assert x.shape[-1] == k, f"expected rows of {k} elements, got {x.shape[-1]}"


def _product(x: torch.Tensor, weight: torch.Tensor, ring_bits: int) -> torch.Tensor:
    """x [B, m, k] times weight [B, k, n], which may be a transposed view."""
    (batches, rows, inner), columns = x.shape, weight.shape[-1]
    x = x.contiguous()
    transposed = not weight.is_contiguous() and weight.transpose(-1, -2).is_contiguous()
    if _has_narrow(rows, columns, ring_bits) and (not transposed or inner * columns <= _COPIED):
        return _narrow(x, weight.contiguous(), ring_bits)
    if weight.dtype == torch.int64 and rows >= _TORCH_ROWS and not transposed and _multiplies_words():
        return torch.matmul(x, weight)
    split = best_split(64, torch.iinfo(weight.dtype).bits, ring_bits, inner)
    floats = rows >= _float_rows(weight.dtype) and split.products <= _FLOAT_PRODUCTS[weight.dtype]
    out = torch.zeros((batches, rows, columns), dtype=torch.int64)
    laid = weight.transpose(-1, -2) if transposed else weight.contiguous()
    if floats:
        float_products(x, laid, out, split, transposed=transposed)
    else:
        _in_threads(_LOOPS[weight.dtype == torch.int64, transposed], x, laid, out)
    return out


def _narrow(x: torch.Tensor, weight: torch.Tensor, ring_bits: int) -> torch.Tensor:
    """In whole tiles by AVX-512 IFMA; columns that are left, and one or two rows, by other ways."""
    (batches, rows, _), columns = x.shape, weight.shape[-1]
    if rows % ROWS >= _PADDED_ROWS:
        padded = torch.nn.functional.pad(x, (0, 0, 0, ROWS - rows % ROWS))
        return _narrow(padded, weight, ring_bits)[:, :rows]
    out = torch.empty((batches, rows, columns), dtype=torch.int64)
    down, right = rows // ROWS * ROWS, columns // COLUMNS * COLUMNS
    _in_threads(narrow_products, x, weight, out)
    if down < rows:
        out[:, down:] = _product(x[:, down:], weight, ring_bits)
    if right < columns:
        out[:, :down, right:] = _product(x[:, :down], weight[..., right:], ring_bits)
    return out


def _has_narrow(rows: int, columns: int, ring_bits: int) -> bool:
    """Whether the multiply-add of 52 bits can make a tile of this product."""
    fits = rows >= _PADDED_ROWS and columns >= COLUMNS and ring_bits <= NARROW_BITS
    return fits and uses_compiled() and has_narrow_products()


@lru_cache(maxsize=1)
def _multiplies_words() -> bool:
    """Whether the processor has vector products of 64-bit words."""
    return "avx512dq" in target_features()


@lru_cache(maxsize=len(_WEIGHTS))
def _float_rows(kind: torch.dtype) -> int:
    """The number of rows from which on limbs of such weights pay."""
    wide = kind != torch.int64 and "avx512f" in target_features()
    return _WIDE_FLOAT_ROWS if wide else _FLOAT_ROWS[kind]


def _in_threads(
    product: Callable[[Words, Any, Words], None], x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor
) -> None:
    """Runs a kernel on parts of the batch, or of the one matrix's rows, in as many threads as torch uses."""
    words, factors, sums = _words(x), weight.numpy(), _words(out)
    batches, rows = words.shape[:2]
    parts = min(torch.get_num_threads(), batches * rows // _THREAD_ROWS)
    if parts < 2:
        product(words, factors, sums)
        return
    if batches > 1:
        cuts = [batches * part // parts for part in range(parts + 1)]
        jobs = [(words[a:b], factors[a:b], sums[a:b]) for a, b in pairwise(cuts)]
    else:
        cuts = [rows * part // parts // ROWS * ROWS for part in range(parts)] + [rows]
        jobs = [(words[:, a:b], factors, sums[:, a:b]) for a, b in pairwise(cuts)]
    run_together([partial(product, *job) for job in jobs])


def _words(value: torch.Tensor) -> Words:
    """The same memory as unsigned words: compiled sums of signed ones must not overflow."""
    return value.numpy().view(np.uint64)
