"""Rows of many lengths, packed end to end: between them and matrices, a pass each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.kernels.parallel import in_threads

Rows = NDArray[np.int64]
Loop = Callable[[Rows, Rows, Rows], None]
_THREAD_ELEMENTS = 1 << 18
"""Elements for which another thread pays."""


def pack_rows(matrix: torch.Tensor, lengths: Sequence[int], first: int = 0) -> torch.Tensor:
    """The beginnings of rows, end to end: int64 [..., R, S] -> [..., sum(lengths)].

    Args:
        lengths: of the rows, at most S each.
        first: the first of them.
    """
    out = torch.empty((*matrix.shape[:-2], sum(lengths)), dtype=torch.int64)
    flat = matrix.reshape(-1, *matrix.shape[-2:]).contiguous().numpy()
    _each(lambda rows, packed, starts: _pack(rows, first, packed, starts), flat, out, lengths)
    return out


def unpack_rows(packed: torch.Tensor, lengths: Sequence[int], columns: int) -> torch.Tensor:
    """The inverse, with zeros behind every row: int64 [..., R, columns]."""
    out = torch.empty((*packed.shape[:-1], len(lengths), columns), dtype=torch.int64)
    _each(_unpack, out.view(-1, len(lengths), columns).numpy(), packed.contiguous(), lengths)
    return out


def sum_rows(packed: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """Every row's sum modulo 2^64: int64 [..., R]."""
    out = torch.empty((*packed.shape[:-1], len(lengths)), dtype=torch.int64)
    _each(_sum, out.view(-1, len(lengths)).numpy(), packed.contiguous(), lengths)
    return out


def _each(loop: Loop, rows: Rows, packed: torch.Tensor, lengths: Sequence[int]) -> None:
    """Runs a loop on all that is before the last axis, which has the packed rows."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(np.array(lengths, np.int64), out=starts[1:])
    flat = packed.view(len(rows), -1).numpy()
    least = max(1, _THREAD_ELEMENTS // max(1, flat.shape[1]))
    in_threads(len(rows), least, lambda first, last: loop(rows[first:last], flat[first:last], starts))


@kernel
def _pack(matrix: Rows, first: int, out: Rows, starts: Rows) -> None:
    for n in range(out.shape[0]):
        for row in range(starts.size - 1):
            start, end = starts[row], starts[row + 1]
            out[n, start:end] = matrix[n, first + row, : end - start]


@kernel
def _unpack(out: Rows, packed: Rows, starts: Rows) -> None:
    for n in range(out.shape[0]):
        for row in range(starts.size - 1):
            start, end = starts[row], starts[row + 1]
            out[n, row, : end - start] = packed[n, start:end]
            out[n, row, end - start :] = 0


@kernel
def _sum(out: Rows, packed: Rows, starts: Rows) -> None:
    for n in range(out.shape[0]):
        for row in range(starts.size - 1):
            total = np.int64(0)
            for i in range(starts[row], starts[row + 1]):
                total += packed[n, i]
            out[n, row] = total
