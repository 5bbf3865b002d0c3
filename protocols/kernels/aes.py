"""Fixed-key AES-128 as a hash of 128-bit blocks.

H(y) = AES_k(s(y)) xor s(y) with s(low, high) = (low xor high, low), which is circular-correlation robust when
AES under a random key is taken for a random permutation. Source: Guo, Katz, Wang, Yu, "Efficient and secure
multiparty computation from fixed-key block ciphers" (IEEE S&P 2020), section 7. The key is public and one for
a session: keys are never expanded inside a loop.

A block is a row of two uint64; word 0 holds the lowest bits. Uses of one block are kept apart by a tweak that
is XORed into word 1 before hashing: `INNER`, `LEAF` or `VALUE`.
"""

# llvmlite has no types, and what numba calls has none either.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba.core import types
from numpy.typing import NDArray

from parties.errors import ConfigError
from protocols.kernels.jit import instruction, kernel
from protocols.kernels.openssl_aes import hash_blocks as hash_with_openssl
from protocols.kernels.processor import uses_compiled
from protocols.kernels.registers import GROUP, KEY_WORDS, Registers, data_of, require_words
from protocols.kernels.rounds import ROUNDS

KEY_BYTES = 16
INNER = np.uint64(0)
"""Tweak of a step from an inner node to its children."""
LEAF = np.uint64(1 << 62)
"""Tweak of the conversion of a node into a leaf of 128 bits."""
VALUE = np.uint64(1 << 63)
"""Tweak of the conversion of a node into a ring element."""


@dataclass(frozen=True, slots=True, eq=False)
class Hash:
    """The hash under one public key.

    Attributes:
        key: 16 bytes, public.
        round_keys: uint64 [11, 8], every round key repeated to fill the widest register.

    Raises:
        ConfigError: the key is not 16 bytes long.
    """

    key: bytes
    round_keys: NDArray[np.uint64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ConfigError(f"a hash key has {KEY_BYTES} bytes, got {len(self.key)}")
        expanded = np.frombuffer(_expand_key(self.key), np.uint64).reshape(ROUNDS + 1, 2)
        object.__setattr__(self, "round_keys", np.tile(expanded, (1, KEY_WORDS // 2)))

    def hash(self, blocks: NDArray[np.uint64], tweak: np.uint64 = INNER) -> NDArray[np.uint64]:
        """H of every block: uint64 [..., 2] -> uint64 [..., 2]."""
        flat = np.ascontiguousarray(blocks).reshape(-1, 2)
        if not uses_compiled():
            return hash_with_openssl(self.key, flat, tweak).reshape(blocks.shape)
        padded = np.zeros((-(-len(flat) // GROUP) * GROUP, 2), np.uint64)
        padded[: len(flat)] = flat
        hash_into(padded, padded, len(flat), tweak, self.round_keys)
        return padded[: len(flat)].reshape(blocks.shape)


@instruction
def hash_group(_: Any, source: Any, source_word: Any, target: Any, target_word: Any, tweak: Any, keys: Any):
    """Hashes one group of 16 blocks from one array of words into another, or in place.

    For use inside kernels: `hash_group(source, source_word, target, target_word, tweak, round_keys)`. Offsets
    count words, not blocks; nothing checks that 32 words lie behind them.
    """
    require_words(source, target, keys)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = Registers.of_target(builder)
        source, target, keys = (data_of(context, builder, signature, values, i) for i in (0, 2, 5))
        to.store(to.hash(to.load(source, values[1]), values[4], keys), target, values[3])
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64, types.uint64, keys), write


@kernel
def hash_into(
    source: NDArray[np.uint64],
    target: NDArray[np.uint64],
    count: int,
    tweak: np.uint64,
    round_keys: NDArray[np.uint64],
) -> None:
    """target[i] = H(source[i] xor tweak) for i < count, and for the rest of the last group of 16.

    Args:
        source: contiguous uint64 [M, 2], M at least `count` rounded up to a multiple of 16.
        target: contiguous uint64 [M, 2], the same array or one that does not overlap.
        count: blocks to hash.
        tweak: `INNER`, `LEAF` or `VALUE`.
        round_keys: of a `Hash`.
    """
    for start in range(0, 2 * count, 2 * GROUP):
        hash_group(source, start, target, start, tweak, round_keys)


def _expand_key(key: bytes) -> bytes:
    """The eleven round keys of AES-128, one after the other (FIPS 197, section 5.2)."""
    box = _substitution_box()
    words = [key[4 * i : 4 * i + 4] for i in range(4)]
    constant = 1
    for i in range(4, 4 * (ROUNDS + 1)):
        last = words[i - 1]
        if i % 4 == 0:
            turned = bytes(box[byte] for byte in last[1:] + last[:1])
            last = bytes([turned[0] ^ constant]) + turned[1:]
            constant = _double(constant)
        words.append(bytes(a ^ b for a, b in zip(words[i - 4], last, strict=True)))
    return b"".join(words)


def _double(byte: int) -> int:
    """Twice an element of GF(256) as AES represents it."""
    return (byte << 1) ^ (0x11B if byte & 0x80 else 0)


def _substitution_box() -> bytes:
    """The AES S-box (FIPS 197, section 5.1.1): the inverse in GF(256), then an affine map."""
    powers = [1]
    for _ in range(254):
        powers.append(powers[-1] ^ _double(powers[-1]))
    box = bytearray(256)
    box[0] = 0x63
    for exponent, element in enumerate(powers):
        inverse = powers[-exponent % 255]
        folded = inverse
        for turn in range(1, 5):
            folded ^= (inverse << turn | inverse >> (8 - turn)) & 0xFF
        box[element] = folded ^ 0x63
    return bytes(box)
