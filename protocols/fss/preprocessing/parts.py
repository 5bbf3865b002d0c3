"""Long vectors, worked on some elements at a time: what is at hand stays in cache, whatever their length."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1 << 10)
def parts(count: int, most: int) -> tuple[slice, ...]:
    """So many elements, at most `most` at a time; one empty part where there are none.

    With `most` a multiple of eight, elements of any width fill whole bytes in every part but the last.
    """
    starts = range(0, max(1, count), most)
    return tuple(slice(start, min(start + most, count)) for start in starts)
