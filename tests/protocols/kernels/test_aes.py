"""The hash is AES as the standard has it, and the same on every path."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from parties.errors import ConfigError
from parties.randomness import InsecureTestRandom
from protocols.kernels import openssl_aes
from protocols.kernels.aes import INNER, LEAF, VALUE, Hash

KEY = bytes(range(16))


def blocks(count: int, seed: int = 1) -> NDArray[np.uint64]:
    return InsecureTestRandom(seed).uint64((count, 2))


def slow_hash(key: bytes, block: NDArray[np.uint64], tweak: int) -> bytes:
    low, high = (int(word) for word in block)
    turned = (low ^ high ^ tweak).to_bytes(8, "little") + low.to_bytes(8, "little")
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return bytes(a ^ b for a, b in zip(encryptor.update(turned), turned, strict=True))


def test_known_answer_of_the_standard() -> None:
    """FIPS 197, appendix C.1: the hash of s^-1(plaintext), less s of it, is the ciphertext."""
    plain = np.frombuffer(bytes.fromhex("00112233445566778899aabbccddeeff"), np.uint64)
    block = np.array([[plain[1], plain[0] ^ plain[1]]])
    assert (Hash(KEY).hash(block) ^ plain).tobytes().hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


def test_last_round_key_of_the_standard() -> None:
    """FIPS 197, appendix A.1."""
    round_keys = Hash(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")).round_keys
    assert round_keys[10, :2].tobytes().hex() == "d014f9a8c9ee2589e13f0cc8b6630ca6"
    assert round_keys.shape == (11, 8)
    assert (round_keys == np.tile(round_keys[:, :2], (1, 4))).all()


@pytest.mark.parametrize("count", [0, 1, 3, 15, 16, 17, 100])
@pytest.mark.parametrize("tweak", [INNER, LEAF, VALUE])
def test_both_paths_are_the_hash(count: int, tweak: np.uint64) -> None:
    source = blocks(count, count)
    before = source.copy()
    expected = b"".join(slow_hash(KEY, block, int(tweak)) for block in source)
    assert Hash(KEY).hash(source, tweak).tobytes() == expected
    assert openssl_aes.hash_blocks(KEY, source, tweak).tobytes() == expected
    assert np.array_equal(source, before)


def test_shapes_are_kept_and_views_are_read_in_order() -> None:
    source = blocks(24).reshape(2, 3, 4, 2)
    view = source[:, ::2]
    assert np.array_equal(Hash(KEY).hash(view), Hash(KEY).hash(source)[:, ::2])


def test_keys_of_another_length_are_refused() -> None:
    with pytest.raises(ConfigError, match="16 bytes, got 15"):
        Hash(bytes(15))
