"""Key material as a stream of bytes: written as it is dealt, read once, in order."""

from __future__ import annotations

import math
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from parties.errors import CorrelationExhausted
from parties.packing import unpack_words
from protocols.tensors import to_tensor


class Reader:
    """Reads material from a file, a gate's at a time; nothing is read twice.

    Args:
        file: open for reading bytes, at the start of one run's material.
        size_bytes: how long that run's material is.
    """

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file, self._left = file, size_bytes

    @property
    def left_bytes(self) -> int:
        """What is not read yet."""
        return self._left

    def bytes(self, count: int) -> NDArray[np.uint8]:
        """The next bytes.

        Raises:
            CorrelationExhausted: there are not as many.
        """
        if count > self._left:
            raise CorrelationExhausted(f"{count:,} bytes of material are needed, {self._left:,} are left")
        buffer = np.empty(count, np.uint8)
        got = self._file.readinto(buffer.data) if count else 0  # pyright: ignore[reportAttributeAccessIssue]
        if got != count:
            raise CorrelationExhausted(f"material ends after {got:,} of {count:,} bytes")
        self._left -= count
        return buffer

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next 64-bit words."""
        return self.bytes(8 * count).view(np.uint64)

    def ring(self, shape: tuple[int, ...], bits: int) -> torch.Tensor:
        """The next elements of Z_2^bits, packed to whole bytes together."""
        count = math.prod(shape)
        packed = self.bytes((count * bits + 7) // 8)
        return to_tensor(unpack_words(packed, bits, count)).reshape(shape)
