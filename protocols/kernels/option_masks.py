"""Masks of 1-of-N OTs: one block hashed with each of N offsets, and messages under them in another order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import Hash
from protocols.kernels.jit import kernel
from protocols.kernels.processor import uses_compiled
from protocols.kernels.registers import GROUP
from protocols.kernels.tweaked_hash import tweaked_hash, tweaked_hash_group

Words = NDArray[np.uint64]


def option_masks(hash_key: Hash, blocks: Words, offsets: Words, counter: int, bits: int) -> Words:
    """The low bits of TMMO of every block xor every offset, block i under the tweak counter + i.

    Args:
        hash_key: names the public key.
        blocks: uint64 [n, 2].
        offsets: uint64 [N, 2].
        counter: the first tweak.
        bits: of a mask, 1 to 64.

    Returns:
        uint64 [n, N].
    """
    assert 0 <= counter < (1 << 64) - len(blocks), "tweaks would repeat"
    out, mask = np.empty((len(blocks), len(offsets)), np.uint64), np.uint64((1 << bits) - 1)
    if uses_compiled():
        option_masks_into(np.ascontiguousarray(blocks), offsets, counter, mask, out, hash_key.round_keys)
    else:
        for option, offset in enumerate(offsets):
            out[:, option] = tweaked_hash(hash_key, blocks, counter, 0, offset)[:, 0] & mask
    return out


@kernel
def option_masks_into(
    blocks: Words, offsets: Words, counter: int, mask: np.uint64, out: Words, round_keys: Words
) -> None:
    """See `option_masks`."""
    count, nothing = blocks.shape[0], np.uint64(0)
    source, hashed = np.zeros((GROUP, 2), np.uint64), np.empty((GROUP, 2), np.uint64)
    for start in range(0, count, GROUP):
        rows = min(GROUP, count - start)
        source[:rows] = blocks[start : start + rows]
        for option in range(offsets.shape[0]):
            tweak = np.uint64(counter + start)
            tweaked_hash_group(source, 0, hashed, 0, offsets[option], tweak, nothing, round_keys)
            for i in range(rows):
                out[start + i, option] = hashed[i, 0] & mask


@kernel
def mask_turned(messages: Words, masks: Words, turns: NDArray[np.uint8], out: NDArray[np.generic]) -> None:
    """out[i, v] = messages[i, v] xor masks[i, v xor turns[i]], in the type of `out`: all [n, N]."""
    for i in range(out.shape[0]):
        turn = np.int64(turns[i])
        for option in range(out.shape[1]):
            out[i, option] = messages[i, option] ^ masks[i, option ^ turn]
