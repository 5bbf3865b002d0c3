"""Loops over large arrays, cut into parts for as many threads as torch uses."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

_PART = 1 << 15
"""Elements for which another thread pays."""

Bounds = tuple[int, int]


def in_parts(run: Callable[[Bounds, Bounds], None], rows: int, width: int) -> None:
    """Calls run(rows, columns), which lets go of Python's lock, on parts of a matrix that cover it."""
    parts = min(torch.get_num_threads(), rows * width // _PART)
    if parts < 2:
        run((0, rows), (0, width))
        return
    by_rows = rows >= parts
    length = rows if by_rows else width
    cuts = pairwise(length * part // parts for part in range(parts + 1))
    with ThreadPoolExecutor(parts) as pool:
        bounds = [(cut, (0, width)) if by_rows else ((0, rows), cut) for cut in cuts]
        for future in [pool.submit(run, *each) for each in bounds]:
            future.result()


def in_threads(count: int, least: int, work: Callable[[int, int], None]) -> None:
    """Calls work(first, last), which lets go of Python's lock, on parts that together are 0 .. count.

    Args:
        least: for fewer than that another thread does not pay.
        work: may write to what no other part reads or writes.
    """
    parts = min(torch.get_num_threads(), count // least)
    if parts < 2:
        work(0, count)
        return
    cuts = [count * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        for future in [pool.submit(work, first, last) for first, last in pairwise(cuts)]:
            future.result()
