"""Randomness as an argument: streams of uniform ring elements, never a module-wide generator."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from typing import NoReturn, cast

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from parties.errors import CorrelationExhausted
from parties.wire import RingArray, spec_of

KEY_BYTES = 16
_BUFFER_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 18
_ZEROS = bytes(_CHUNK_BYTES)


class Randomness(ABC):
    """A source of uniform bytes. No position of its stream is ever handed out twice."""

    @abstractmethod
    def fill(self, out: NDArray[np.uint8]) -> None:
        """Overwrites a contiguous array of bytes with the next ones of the stream."""

    def draw_bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        out = np.empty(count, np.uint8)
        self.fill(out)
        return out.tobytes()

    def ring(self, shape: tuple[int, ...], bits: int) -> RingArray:
        """Uniform elements of [0, 2**bits), 1 <= bits <= 64, in the type `Spec.dtype` names.

        Exactly uniform: the ring's size is a power of two, surplus bits are dropped. Takes elements times the
        type's size from the stream.
        """
        spec = spec_of(bits, shape)
        raw = np.empty(spec.elements * spec.dtype.itemsize, np.uint8)
        self.fill(raw)
        drawn = cast("RingArray", raw.view(spec.dtype)).reshape(shape)
        if bits < 8 * spec.dtype.itemsize:
            drawn &= spec.dtype.type((1 << bits) - 1)
        return drawn

    def words(self, shape: tuple[int, ...], bits: int) -> NDArray[np.int64]:
        """As `ring`, the same elements, as 64-bit words."""
        return self.ring(shape, bits).astype(np.uint64, copy=False).view(np.int64)

    def uint64(self, shape: tuple[int, ...]) -> NDArray[np.uint64]:
        """Uniform 64-bit elements."""
        return cast("NDArray[np.uint64]", self.ring(shape, 64))

    def uint8(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Uniform bytes as an array."""
        return cast("NDArray[np.uint8]", self.ring(shape, 8))


class AesCtrStream(Randomness):
    """AES-128 in counter mode from counter zero: both holders of a key draw the same elements in one order.

    The counter only goes forward. A stream cannot be copied or pickled, and refuses to go on in a forked
    process, because either would hand out positions twice. Safe to share between threads.

    Args:
        key: 16 bytes, used for nothing else and for one stream only.
    """

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES, f"an AES-128 key has {KEY_BYTES} bytes, got {len(key)}"
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        self._buffer = np.empty(_BUFFER_BYTES, np.uint8)
        self._used = _BUFFER_BYTES
        self._process = os.getpid()
        self._lock = threading.Lock()

    def words(self, shape: tuple[int, ...], bits: int) -> NDArray[np.int64]:
        spec = spec_of(bits, shape)
        size = spec.elements * spec.dtype.itemsize
        self._require_process()
        with self._lock:  # while it is held nobody overwrites the buffer
            start, end = self._used, self._used + size
            if end <= _BUFFER_BYTES:
                self._used = end
                raw = self._buffer[start:end].view(spec.dtype)
                words = np.bitwise_and(raw, spec.dtype.type((1 << bits) - 1)).astype(np.uint64, copy=False)
                return words.view(np.int64).reshape(shape)
        return super().words(shape, bits)

    def fill(self, out: NDArray[np.uint8]) -> None:
        assert out.ndim == 1
        assert out.flags.c_contiguous
        self._require_process()
        with self._lock:
            held = min(len(out), _BUFFER_BYTES - self._used)
            out[:held] = self._buffer[self._used : self._used + held]
            self._used += held
            rest = out[held:]
            if len(rest) >= _BUFFER_BYTES:
                self._generate(rest)
            elif len(rest):
                self._generate(self._buffer)
                rest[:] = self._buffer[: len(rest)]
                self._used = len(rest)

    def _require_process(self) -> None:
        if os.getpid() != self._process:
            raise CorrelationExhausted("a forked process would draw the same randomness as its parent")

    def _generate(self, out: NDArray[np.uint8]) -> None:
        for start in range(0, len(out), _CHUNK_BYTES):
            chunk = out[start : start + _CHUNK_BYTES]
            self._cipher.update_into(memoryview(_ZEROS)[: len(chunk)], chunk.data)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a random stream cannot be copied or pickled: positions would be used twice")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce__()


class SystemRandom(AesCtrStream):
    """Randomness of this party alone: a stream under a fresh key from the operating system."""

    def __init__(self) -> None:
        super().__init__(os.urandom(KEY_BYTES))


class InsecureTestRandom(AesCtrStream):
    """A stream that anybody can repeat, for tests and recorded transcripts only."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed.to_bytes(KEY_BYTES, "little"))
