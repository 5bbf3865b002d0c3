"""Keys in whole chunks and a padded rest, so that compiled loops know no tails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 64
"""Keys that are worked on together: a multiple of the group."""


@dataclass(frozen=True, slots=True)
class Part:
    """Keys that one call of a kernel works on: all whole chunks, or the rest padded to one chunk."""

    start: int
    stop: int
    padded: bool

    def of(self, array: NDArray[Any], axis: int = 0) -> NDArray[Any]:
        """What a kernel reads: contiguous, and always read-only, so that it is compiled for one type."""
        if not self.padded:
            view = np.ascontiguousarray(array)[...]
        else:
            shape = list(array.shape)
            shape[axis] = CHUNK
            view, before = np.zeros(shape, array.dtype), (slice(None),) * axis
            view[(*before, slice(self.stop - self.start))] = array[(*before, slice(self.start, self.stop))]
        view.flags.writeable = False
        return view

    def room(self, out: NDArray[Any], axis: int = 0) -> NDArray[Any]:
        """What a kernel writes to: the array itself, or a chunk of its own for the padded rest.

        With its keys along the first axis it has room for this part alone, along another one for all keys.
        """
        if not self.padded:
            return out[: self.stop] if axis == 0 else out
        shape = list(out.shape)
        shape[axis] = CHUNK
        return np.empty(shape, out.dtype)

    def keep(self, result: NDArray[Any], out: NDArray[Any], axis: int = 0) -> None:
        """Puts the padded rest where it belongs."""
        if self.padded:
            before = (slice(None),) * axis
            out[(*before, slice(self.start, self.stop))] = result[(*before, slice(self.stop - self.start))]


def parts(count: int) -> Iterator[Part]:
    """The parts of so many keys."""
    whole = count - count % CHUNK
    if whole:
        yield Part(0, whole, False)
    if whole < count:
        yield Part(whole, count, True)
