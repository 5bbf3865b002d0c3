"""Loops over large arrays, cut into parts for as many threads as torch uses."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache, partial
from itertools import pairwise

import torch

_PART = 1 << 15
"""Elements for which another thread pays."""

Bounds = tuple[int, int]
Job = Callable[[], None]


def run_together(jobs: Sequence[Job]) -> None:
    """Runs jobs that let go of Python's lock: the first in this thread, each other one in a thread beside it.

    Threads are started once and kept. A job must not wait for jobs of its own. What a job raises is raised
    here, after all have ended.
    """
    if len(jobs) < 2:
        for job in jobs:
            job()
        return
    others = [_pool(os.getpid()).submit(job) for job in jobs[1:]]
    try:
        jobs[0]()
    finally:
        wait(others)
    for other in others:
        other.result()


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """A forked process has none of its parent's threads."""
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1), f"kernels-{process}")


def in_parts(run: Callable[[Bounds, Bounds], None], rows: int, width: int) -> None:
    """Calls run(rows, columns), which lets go of Python's lock, on parts of a matrix that cover it."""
    parts = max(1, min(torch.get_num_threads(), rows * width // _PART))
    by_rows = rows >= parts
    cuts = pairwise(_cuts(rows if by_rows else width, parts))
    bounds = [(cut, (0, width)) if by_rows else ((0, rows), cut) for cut in cuts]
    run_together([partial(run, *each) for each in bounds])


def in_threads(count: int, least: int, work: Callable[[int, int], None]) -> None:
    """Calls work(first, last), which lets go of Python's lock, on parts that together are 0 .. count.

    Args:
        least: for fewer than that another thread does not pay.
        work: may write to what no other part reads or writes.
    """
    parts = max(1, min(torch.get_num_threads(), count // least))
    run_together([partial(work, first, last) for first, last in pairwise(_cuts(count, parts))])


def in_turns(jobs: Sequence[Job]) -> None:
    """Runs jobs that let go of Python's lock, of any length: whichever thread is free takes the next."""
    left = iter(jobs)

    def work() -> None:
        for job in left:
            job()

    run_together([work] * min(torch.get_num_threads(), len(jobs)))


def _cuts(count: int, parts: int) -> list[int]:
    return [count * part // parts for part in range(parts + 1)]
