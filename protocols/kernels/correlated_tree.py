"""Trees of blocks whose every level XORs to one offset, and all of their leaves but one from sums of levels.

A node x has the children H(x) and H(x) xor x. A tree begins with two nodes that XOR to the offset, and so
does every level. Source: Guo et al., "Half-Tree: Halving the Cost of Tree Expansion in COT and DPF"
(EUROCRYPT 2023), section 4. A leaf costs half an evaluation of H.

The left child of node j of a level with 2^l nodes is node j of the next level, the right one node j + 2^l:
bit l - 1 of a leaf's number says which child its path takes on level l. Leaves are XORed into an array that
is there already, their lowest bits cleared.
"""

# llvmlite has no types, and what numba calls has none either.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numpy.typing import NDArray

from protocols.kernels.aes import INNER, Hash, hash_group
from protocols.kernels.jit import instruction, kernel
from protocols.kernels.parallel import in_threads
from protocols.kernels.processor import uses_compiled
from protocols.kernels.registers import GROUP, Registers, data_of, require_words

Words = NDArray[np.uint64]

MIN_DEPTH = 6
"""A level of parents of leaves fills two groups."""
_GROUP_WORDS = 2 * GROUP
_ONE = np.uint64(1)
_LEAST = 32
"""Trees for which another thread pays."""


def grow(hash_key: Hash, left: Words, offset: Words, sums: Words, leaves: Words) -> None:
    """Whole trees.

    Args:
        hash_key: names H.
        left: uint64 [t, 2], the left node of every first level.
        offset: uint64 [2], what levels XOR to; its lowest bit is 1.
        sums: uint64 [t, depth - 1, 2], overwritten: the XOR of all left nodes of levels 2 to depth.
        leaves: uint64 [t, 2^depth, 2], into which leaves are XORed.
    """
    depth = _depth(leaves)
    if not uses_compiled():
        _grow_plain(hash_key, left, offset, sums, leaves)
        return

    def part(first: int, last: int) -> None:
        grow_into(left[first:last], offset, depth, sums[first:last], leaves[first:last], hash_key.round_keys)

    in_threads(len(left), _LEAST, part)


def regrow(hash_key: Hash, choices: NDArray[np.uint8], known: Words, leaves: Words) -> None:
    """Trees without one leaf each, which is replaced by the XOR of the others with its lowest bit set.

    Args:
        hash_key: names H.
        choices: uint8 [t, depth], on which side of each level the sum is known, 1 for right: the path of the
            missing leaf goes the other way.
        known: uint64 [t, depth, 2], the XOR of all nodes on that side of levels 1 to depth.
        leaves: uint64 [t, 2^depth, 2], into which leaves are XORed.
    """
    depth = _depth(leaves)
    assert choices.shape == (len(leaves), depth)
    if not uses_compiled():
        _regrow_plain(hash_key, choices, known, leaves)
        return

    def part(first: int, last: int) -> None:
        regrow_into(choices[first:last], known[first:last], depth, leaves[first:last], hash_key.round_keys)

    in_threads(len(known), _LEAST, part)


def _depth(leaves: Words) -> int:
    depth = leaves.shape[1].bit_length() - 1
    assert leaves.shape[1] == 1 << max(depth, MIN_DEPTH), f"no tree of {leaves.shape[1]} leaves"
    return depth


@instruction
def expand_group(_: Any, nodes, at, right_at, sums, keys):
    """Replaces 16 nodes at `at` by their left children and puts the right ones at `right_at`.

    `expand_group(nodes, at, right_at, sums, round_keys)`: left children are XORed into the 16 blocks `sums`.
    """
    require_words(nodes, sums, keys)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = Registers.of_target(builder)
        nodes, sums, keys = (data_of(context, builder, signature, values, i) for i in (0, 3, 4))
        zero = to.word(0)
        parents = to.load(nodes, values[1])
        left = to.hash(parents, to.word(INNER), keys)
        to.store(left, nodes, values[1])
        to.store(to.xor(left, parents), nodes, values[2])
        to.store(to.xor(to.load(sums, zero), left), sums, zero)
        return context.get_dummy_value()

    return types.void(nodes, types.int64, types.int64, sums, keys), write


@instruction
def leaves_group(_: Any, nodes, at, leaves, left_at, right_at, sums, keys):
    """XORs the children of 16 nodes into leaves, lowest bits cleared.

    `leaves_group(nodes, at, leaves, left_at, right_at, sums, round_keys)`: left children as they are are
    XORed into the 16 blocks `sums`.
    """
    require_words(nodes, leaves, sums, keys)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = Registers.of_target(builder)
        nodes, leaves, sums, keys = (data_of(context, builder, signature, values, i) for i in (0, 2, 5, 6))
        zero, even = to.word(0), to.constant((1 << 64) - 2, (1 << 64) - 1)
        parents = to.load(nodes, values[1])
        left = to.hash(parents, to.word(INNER), keys)
        right = to.xor(left, parents)
        for children, place in ((left, values[3]), (right, values[4])):
            cleared = [builder.and_(child, even) for child in children]
            to.store(to.xor(to.load(leaves, place), cleared), leaves, place)
        to.store(to.xor(to.load(sums, zero), left), sums, zero)
        return context.get_dummy_value()

    return types.void(nodes, types.int64, leaves, types.int64, types.int64, sums, keys), write


@kernel
def fold(sums: Words, count: int, low: np.uint64, high: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The XOR of a number of blocks and of one more."""
    for i in range(count):
        low ^= sums[i, 0]
        high ^= sums[i, 1]
    return low, high


@kernel
def expand_level(nodes: Words, width: int, sums: Words, round_keys: Words) -> None:
    """One level: `width` nodes become 2 width; the first min(width, 16) blocks of `sums` sum the left."""
    sums[:] = 0
    for at in range(0, 2 * width, _GROUP_WORDS):
        expand_group(nodes, at, 2 * width + at, sums, round_keys)


@kernel
def grow_into(left: Words, offset: Words, depth: int, sums: Words, leaves: Words, round_keys: Words) -> None:
    """See `grow`."""
    nodes = np.zeros(((1 << (depth - 1)) + GROUP, 2), np.uint64)
    lanes = np.empty((GROUP, 2), np.uint64)
    size = 2 << depth
    flat = leaves.reshape(-1)
    zero = np.uint64(0)
    for tree in range(left.shape[0]):
        for word in range(2):
            nodes[0, word] = left[tree, word]
            nodes[1, word] = left[tree, word] ^ offset[word]
        for level in range(1, depth - 1):
            width = 1 << level
            expand_level(nodes, width, lanes, round_keys)
            low, high = fold(lanes, min(width, GROUP), zero, zero)
            sums[tree, level - 1, 0], sums[tree, level - 1, 1] = low, high
        lanes[:] = 0
        here, half = tree * size, 1 << depth
        for at in range(0, half, _GROUP_WORDS):
            leaves_group(nodes, at, flat, here + at, here + half + at, lanes, round_keys)
        low, high = fold(lanes, GROUP, zero, zero)
        sums[tree, depth - 2, 0], sums[tree, depth - 2, 1] = low, high


@kernel
def regrow_into(
    choices: NDArray[np.uint8], known: Words, depth: int, leaves: Words, round_keys: Words
) -> None:
    """See `regrow`. The missing node is kept as zero; its children are H(0), and are taken out again."""
    nodes = np.zeros(((1 << (depth - 1)) + GROUP, 2), np.uint64)
    lanes, empty = np.empty((GROUP, 2), np.uint64), np.zeros((GROUP, 2), np.uint64)
    hash_group(empty, 0, empty, 0, INNER, round_keys)
    zero_low, zero_high = empty[0, 0], empty[0, 1]
    size, flat = 2 << depth, leaves.reshape(-1)
    even = ~_ONE
    for tree in range(known.shape[0]):
        side = np.int64(choices[tree, 0])
        missing = 1 - side
        nodes[:2] = 0
        nodes[side] = known[tree, 0]
        total_low, total_high = known[tree, 0, 0], known[tree, 0, 1]
        for level in range(1, depth):
            width = 1 << level
            side = np.int64(choices[tree, level])
            if level < depth - 1:
                expand_level(nodes, width, lanes, round_keys)
            else:
                lanes[:] = 0
                here, half = tree * size, 1 << depth
                for at in range(0, half, _GROUP_WORDS):
                    leaves_group(nodes, at, flat, here + at, here + half + at, lanes, round_keys)
            low, high = fold(lanes, min(width, GROUP), zero_low, zero_high)
            if side:
                low ^= total_low
                high ^= total_high
            low ^= known[tree, level, 0]
            high ^= known[tree, level, 1]
            total_low ^= low
            total_high ^= high
            sibling = missing + side * width
            missing = missing + (1 - side) * width
            if level < depth - 1:
                nodes[sibling, 0], nodes[sibling, 1] = low, high
                nodes[missing] = 0
            else:
                leaves[tree, sibling, 0] ^= (zero_low ^ low) & even
                leaves[tree, sibling, 1] ^= zero_high ^ high
                leaves[tree, missing, 0] ^= ((zero_low ^ total_low) & even) | _ONE
                leaves[tree, missing, 1] ^= zero_high ^ total_high


def _grow_plain(hash_key: Hash, left: Words, offset: Words, sums: Words, leaves: Words) -> None:
    """`grow` level by level, for any processor."""
    nodes = np.stack([left, left ^ offset], axis=1)
    for level in range(1, _depth(leaves)):
        hashed = hash_key.hash(nodes)
        sums[:, level - 1] = np.bitwise_xor.reduce(hashed, axis=1)
        nodes = np.concatenate([hashed, hashed ^ nodes], axis=1)
    nodes[..., 0] &= ~_ONE
    leaves ^= nodes


def _regrow_plain(hash_key: Hash, choices: NDArray[np.uint8], known: Words, leaves: Words) -> None:
    """`regrow` level by level, for any processor."""
    trees = np.arange(len(known))
    sides = choices.astype(np.int64)
    nodes = np.zeros((len(known), 2, 2), np.uint64)
    nodes[trees, sides[:, 0]] = known[:, 0]
    missing = 1 - sides[:, 0]
    for level in range(1, _depth(leaves)):
        width = 1 << level
        hashed = hash_key.hash(nodes)
        nodes = np.concatenate([hashed, hashed ^ nodes], axis=1)
        sibling = missing + sides[:, level] * width
        missing = missing + (1 - sides[:, level]) * width
        nodes[trees, sibling] = nodes[trees, missing] = 0
        both = np.bitwise_xor.reduce(nodes.reshape(len(known), 2, width, 2), axis=2)
        nodes[trees, sibling] = both[trees, sides[:, level]] ^ known[:, level]
    nodes[trees, missing] = np.bitwise_xor.reduce(nodes, axis=1)
    nodes[..., 0] &= ~_ONE
    nodes[trees, missing, 0] |= _ONE
    leaves ^= nodes
