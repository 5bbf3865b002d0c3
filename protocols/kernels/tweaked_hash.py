"""A hash of 128-bit blocks with a tweak a block: TMMO(x, i) = AES(AES(x) xor i) xor AES(x).

Under a random public key it is tweakable circular correlation robust when AES is taken for a random
permutation: what H(x xor D, i) gives for a secret D and any x and i looks random. Source: Guo, Katz, Wang,
Yu, "Efficient and secure multiparty computation from fixed-key block ciphers" (IEEE S&P 2020), section 7.4.

A tweak is 128 bits: word 0 counts, word 1 is the same for all blocks of a call.
"""

# llvmlite has no types, and what numba calls has none either.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numpy.typing import NDArray

from protocols.kernels.aes import Hash
from protocols.kernels.jit import instruction, kernel
from protocols.kernels.openssl_aes import permute_blocks
from protocols.kernels.processor import uses_compiled
from protocols.kernels.registers import GROUP, Registers, data_of, require_words

Words = NDArray[np.uint64]

_GROUP_WORDS = 2 * GROUP


def tweaked_hash(
    hash_key: Hash, blocks: Words, counter: int, domain: int = 0, offset: Words | None = None
) -> Words:
    """TMMO of every block, under the tweaks (counter, domain), (counter + 1, domain), ...

    Args:
        hash_key: names the public key.
        blocks: uint64 [n, 2].
        counter: the first block's tweak, word 0; counter + n must be below 2^64.
        domain: word 1 of every tweak.
        offset: uint64 [2], XORed into every block first.

    Returns:
        uint64 [n, 2].
    """
    assert 0 <= counter < (1 << 64) - len(blocks), "tweaks would repeat"
    shift = np.zeros(2, np.uint64) if offset is None else np.ascontiguousarray(offset)
    source = np.ascontiguousarray(blocks)
    if not uses_compiled():
        return _with_openssl(hash_key.key, source ^ shift, counter, domain)
    source, out = source[...], np.empty_like(source)
    source.flags.writeable = False  # always, so that the kernel is compiled for one type
    tweaked_hash_into(source, out, shift, np.uint64(counter), np.uint64(domain), hash_key.round_keys)
    return out


def _with_openssl(key: bytes, blocks: Words, counter: int, domain: int) -> Words:
    first = permute_blocks(key, blocks)
    tweaked = first.copy()
    tweaked[:, 0] ^= np.arange(counter, counter + len(blocks), dtype=np.uint64)
    tweaked[:, 1] ^= np.uint64(domain)
    return permute_blocks(key, tweaked) ^ first


@instruction
def tweaked_hash_group(_: Any, source, source_word, target, target_word, offset, counter, domain, keys):
    """TMMO of one group of 16 blocks from one array of words into another.

    `tweaked_hash_group(source, source_word, target, target_word, offset, counter, domain, round_keys)`.
    Offsets count words, and nothing checks that 32 words lie behind them.
    """
    require_words(source, target, offset, keys)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = Registers.of_target(builder)
        source, target, offset, keys = (data_of(context, builder, signature, values, i) for i in (0, 2, 4, 7))
        low, high = (builder.load(builder.gep(offset, [ir.IntType(64)(i)]), align=8) for i in range(2))
        shift = to.pair(low, high)
        blocks = [builder.xor(block, shift) for block in to.load(source, values[1])]
        first = to.permuted(blocks, keys)
        second = to.permuted(to.xor(first, to.counted(values[5], values[6])), keys)
        to.store(to.xor(second, first), target, values[3])
        return context.get_dummy_value()

    taken = (source, types.int64, target, types.int64, offset, types.uint64, types.uint64, keys)
    return types.void(*taken), write


@kernel
def tweaked_hash_into(
    source: Words, target: Words, offset: Words, counter: np.uint64, domain: np.uint64, round_keys: Words
) -> None:
    """target[i] = TMMO(source[i] xor offset, (counter + i, domain)): uint64 [n, 2] each."""
    count = source.shape[0]
    whole = count - count % GROUP
    for start in range(0, whole, GROUP):
        tweak = counter + np.uint64(start)
        tweaked_hash_group(source, 2 * start, target, 2 * start, offset, tweak, domain, round_keys)
    if whole < count:
        rest = np.zeros((GROUP, 2), np.uint64)
        rest[: count - whole] = source[whole:]
        tweaked_hash_group(rest, 0, rest, 0, offset, counter + np.uint64(whole), domain, round_keys)
        target[whole:] = rest[: count - whole]
