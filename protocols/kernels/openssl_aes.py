"""The hash of `aes.py` with OpenSSL's AES, for processors that our compiled one does not run on."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

_BLOCK_BYTES = 16


@lru_cache(maxsize=8)
def _cipher(key: bytes) -> Cipher[modes.ECB]:
    # One block in, one block out, under a public key: the permutation itself is wanted, not a mode.
    return Cipher(algorithms.AES(key), modes.ECB())


def hash_blocks(key: bytes, blocks: NDArray[np.uint64], tweak: np.uint64) -> NDArray[np.uint64]:
    """H(block xor tweak) of every block: uint64 [..., 2] -> uint64 [..., 2]."""
    turned = np.empty((blocks.size // 2, 2), np.uint64)
    flat = blocks.reshape(-1, 2)
    np.bitwise_xor(flat[:, 0], flat[:, 1] ^ tweak, out=turned[:, 0])
    turned[:, 1] = flat[:, 0]
    encrypted = _encrypt(_cipher(key).encryptor(), turned)
    encrypted ^= turned
    return encrypted.reshape(blocks.shape)


def permute_blocks(key: bytes, blocks: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """AES of every block: uint64 [n, 2] -> uint64 [n, 2]."""
    return _encrypt(_cipher(key).encryptor(), np.ascontiguousarray(blocks))


def _encrypt(encryptor: CipherContext, blocks: NDArray[np.uint64]) -> NDArray[np.uint64]:
    output = np.empty(blocks.nbytes + _BLOCK_BYTES - 1, np.uint8)
    encryptor.update_into(blocks.data.cast("B") if blocks.size else b"", output.data)
    return output[: blocks.nbytes].view(np.uint64).reshape(-1, 2)
