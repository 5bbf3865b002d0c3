"""Keeping freed memory: the first use of a fresh page costs more than what is computed on it."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
_LARGEST_KEPT_BYTES = 32 << 20
"""glibc takes no more."""


def keep_memory() -> None:
    """Makes this process reuse the memory of arrays that it gave up instead of asking for fresh pages.

    For processes that go through many arrays of a few MiB, as parties and dealers do. The process stays as
    large as it once was. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
