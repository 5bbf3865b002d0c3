"""Memory that one process fills and many read: nobody can write into it, and nothing of it is left over.

It has no name, but a descriptor (`memfd_create`), which child processes inherit. Once filled it is sealed:
nobody may write into it any more, or shrink it under the feet of those who read it. The kernel frees it with
the last descriptor and the last mapping, however their processes end.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from parties.errors import ConfigError

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_PIECE = 1 << 30
"""Bytes that are written at once; Linux takes no more than two gigabytes."""


def sealed(name: str, parts: Iterable[memoryview]) -> int:
    """Memory with these bytes, one part after the other, for reading only: its descriptor.

    Args:
        name: what `/proc/PID/maps` shows.

    Raises:
        ConfigError: there is not enough memory.
    """
    try:
        writable = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            for part in parts:
                _write(writable, part)
            fcntl.fcntl(writable, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
            return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(writable)
    except OSError as error:
        raise ConfigError(f"no memory that processes can share: {error.strerror}") from error


def _write(descriptor: int, part: memoryview) -> None:
    while len(part):
        part = part[os.write(descriptor, part[:_PIECE]) :]


class SealedMemory:
    """Sealed memory as it is read.

    Args:
        descriptor: of `sealed`, perhaps inherited. It may be closed later on: a mapping stays.

    Raises:
        ConfigError: it is none, or somebody could still change it.
    """

    def __init__(self, descriptor: int) -> None:
        try:
            seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
            size = os.fstat(descriptor).st_size
        except OSError as error:
            raise ConfigError(
                f"descriptor {descriptor}: expected sealed memory, got {error.strerror}"
            ) from error
        if seals & _SEALS != _SEALS:
            raise ConfigError(f"descriptor {descriptor}: expected sealed memory, got seals {seals:#x}")
        if not size:
            raise ConfigError(f"descriptor {descriptor}: expected sealed memory, got 0 bytes of it")
        self._map = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._bytes = np.frombuffer(self._map, np.uint8)

    @property
    def nbytes(self) -> int:
        """All of it."""
        return len(self._bytes)

    @property
    def address(self) -> int:
        """Where it is mapped in this process."""
        return int(self._bytes.ctypes.data)

    def read(self, start: int, length: int) -> bytes:
        """A copy of some bytes; fewer where the memory ends before."""
        return self._bytes[start : start + length].tobytes()

    def tensor(self, kind: torch.dtype, shape: tuple[int, ...], start: int) -> torch.Tensor:
        """What lies there, without a copy; it keeps the mapping. Writing into it ends the process (SIGSEGV).

        Args:
            start: a multiple of the entries' size; all of the tensor is within the memory.
        """
        words = torch.empty(0, dtype=kind).view(_WORDS[kind.itemsize])
        window = _Window(self, shape, f"<i{words.element_size()}", self.address + start)
        return torch.from_numpy(np.asarray(window)).view(kind)


_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""numpy has no bfloat16: numbers come as words."""


class _Window:
    """A part of the memory in numpy's array interface.

    It says that it can be written, which only the mapping refuses: torch has no tensors that are read-only,
    and warns of arrays that say so.
    """

    def __init__(self, memory: SealedMemory, shape: tuple[int, ...], kind: str, address: int) -> None:
        self.memory = memory
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "shape": shape,
            "typestr": kind,
            "data": (address, False),
        }
