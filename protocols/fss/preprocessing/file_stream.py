"""Correlations as a stream of bytes: written as it is dealt, read once, in order."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from parties.errors import ConfigError, CorrelationExhausted
from parties.packing import unpack_into, unpack_words
from protocols.tensors import to_tensor


@runtime_checkable
class File(Protocol):
    """What is read: a file, or a section of one."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fills the buffer with the next bytes; how many there were."""
        ...

    def close(self) -> None:
        """Gives it up; safe to repeat."""
        ...


class Reader:
    """Reads correlations from a file, a gate's at a time; nothing is read twice.

    Args:
        file: open for reading bytes, at the start of one run's correlations.
        size_bytes: how long that run's correlations are.
    """

    def __init__(self, file: File, size_bytes: int) -> None:
        self._file, self._left = file, size_bytes
        # Fresh pages cost several times the reading: buffers are kept and grow to the largest need.
        self._words = self._packed = self._elements = np.empty(0, np.uint8)

    @property
    def left_bytes(self) -> int:
        """What is not read yet."""
        return self._left

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next 64-bit words, in a buffer that the next call of this method overwrites.

        Raises:
            CorrelationExhausted: there are not as many.
        """
        self._words = _grown(self._words, 8 * count)
        return self._read(self._words[: 8 * count]).view(np.uint64)

    def ring(self, shape: tuple[int, ...], bits: int) -> torch.Tensor:
        """The next elements of Z_2^bits, packed to whole bytes together.

        Raises:
            CorrelationExhausted: there are not as many.
        """
        count = math.prod(shape)
        size = (count * bits + 7) // 8
        self._packed = _grown(self._packed, size)
        packed = self._read(self._packed[:size])
        return to_tensor(unpack_words(packed.data, bits, count)).reshape(shape)

    def rings(self, pieces: Sequence[tuple[int, int]]) -> torch.Tensor:
        """The next pieces, each of so many elements of so many bits and packed to whole bytes, end to end.

        In a buffer that the next call of this method overwrites. A piece of no bits is zero, for nothing.

        Raises:
            CorrelationExhausted: there are not as many.
        """
        elements = sum(count for count, _ in pieces)
        self._elements = _grown(self._elements, 8 * elements)
        out, at = self._elements[: 8 * elements].view(np.uint64), 0
        for count, bits in pieces:
            size = (count * bits + 7) // 8
            self._packed = _grown(self._packed, size)
            part = out[at : at + count]
            if bits:
                unpack_into(self._read(self._packed[:size]).data, bits, part)
            else:
                part[:] = 0
            at += count
        return to_tensor(out)

    def close(self) -> None:
        """Gives the file up; what was not read is gone. Safe to repeat."""
        self._left = 0
        self._file.close()

    def bytes(self, count: int) -> NDArray[np.uint8]:
        """The next bytes, in a buffer of their own.

        Raises:
            CorrelationExhausted: there are not as many.
        """
        return self._read(np.empty(count, np.uint8))

    def _read(self, buffer: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Fills a buffer with the next bytes."""
        count = buffer.size
        if count > self._left:
            raise CorrelationExhausted(f"{count:,} bytes of correlations are needed, {self._left:,} are left")
        got = self._file.readinto(buffer.data) if count else 0
        if got != count:
            raise CorrelationExhausted(f"correlations end after {got:,} of {count:,} bytes")
        self._left -= count
        return buffer


def _grown(buffer: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The buffer, or a larger one of at least this size."""
    return buffer if buffer.size >= size else np.empty(size, np.uint8)


class FileStream:
    """Correlations on their way: a temporary file without a name, which goes with this process.

    It lies where the environment variable TMPDIR says.
    """

    def __init__(self) -> None:
        try:
            # Outlives this block: its reader closes it.
            self._file = tempfile.TemporaryFile(prefix="mpcinfer-")  # noqa: SIM115
        except OSError as error:
            raise ConfigError(f"no temporary file for key material (TMPDIR): {error}") from error
        self.size_bytes = 0

    def write(self, data: NDArray[np.uint8]) -> None:
        """Appends bytes.

        Raises:
            ConfigError: the disk is full.
        """
        try:
            self._file.write(data.data)
        except OSError as error:
            raise ConfigError(f"key material does not fit {tempfile.gettempdir()}: {error}") from error
        self.size_bytes += data.size

    def close(self) -> None:
        """Gives it up unread; safe to repeat."""
        self._file.close()

    def reader(self) -> Reader:
        """Everything, from the start; nothing more is written."""
        self._file.seek(0)
        return Reader(self._file, self.size_bytes)
