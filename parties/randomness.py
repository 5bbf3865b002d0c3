"""Where random ring elements come from: AES-128 in counter mode, one key a purpose."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from parties.wire import RingArray, Spec

KEY_BYTES = 16


class Randomness(ABC):
    """Uniform ring elements."""

    @abstractmethod
    def ring(self, shape: Sequence[int], bits: int) -> RingArray:
        """Uniform integers below 2^bits (1 to 64), in the type that `Spec.dtype` names."""


class AesCtrStream(Randomness):
    """AES-128 in counter mode from position zero; no position is ever used twice.

    Args:
        key: 16 uniform bytes that serve no other purpose.
    """

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES
        self._cipher: CipherContext = Cipher(AES(key), CTR(bytes(16))).encryptor()

    def ring(self, shape: Sequence[int], bits: int) -> RingArray:
        spec = Spec(bits, tuple(shape))
        size = spec.elements * spec.dtype.itemsize
        out = np.empty(size, np.uint8)
        self._cipher.update_into(bytes(size), out.data) if size else None
        array = out.view(spec.dtype).reshape(spec.shape)
        return array if bits == 8 * spec.dtype.itemsize else array & spec.dtype.type((1 << bits) - 1)


def new_key() -> bytes:
    """A key from the operating system."""
    return os.urandom(KEY_BYTES)
