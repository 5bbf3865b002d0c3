"""What keys and points must be: checks that all kinds of keys share. All raise RangeError."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parties.errors import RangeError


def require_rank(rank: int) -> None:
    """0 or 1."""
    if rank not in {0, 1}:
        raise RangeError(f"expected rank 0 or 1, got {rank}")


def require_bits(bits: int, most: int) -> None:
    """From 1 to `most`."""
    if not 1 <= bits <= most:
        raise RangeError(f"expected a domain of 1 to {most} bits, got {bits}")


def require_shape(
    what: str, array: NDArray[np.uint64] | NDArray[np.int64], expected: tuple[int, ...]
) -> None:
    """An array has this shape."""
    if array.shape != expected:
        raise RangeError(f"{what}: expected shape {expected}, got {array.shape}")


def require_below(points: NDArray[np.uint64], bits: int) -> None:
    """All points are below 2^bits."""
    if points.size and int(points.max()) >> bits:
        raise RangeError(f"expected points below 2^{bits}, got a larger one")
