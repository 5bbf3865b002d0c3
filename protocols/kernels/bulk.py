"""Half-trees of many keys, level by level: OpenSSL does AES for a whole level, compiled loops do the rest.

For targets without AES instructions that our own code knows. Keys are worked on in blocks, so large that the
calls do not count and so small that a block stays in cache. Nodes lie as in `neighbours.py`: node j of key i
of a block of K keys is row j K + i.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from protocols.kernels.aes import INNER, LEAF
from protocols.kernels.bulk_loops import convert_nodes, expand_nodes, turn_nodes
from protocols.kernels.key_chunks import CHUNK

Words = NDArray[np.uint64]

_NODES = 1 << 15
"""Nodes that are hashed with one call, about: 512 KiB."""
_BLOCK_BYTES = 16


class BulkHash:
    """H of `aes.py` for up to so many blocks at a time, in memory of its own.

    Args:
        round_keys: of a `Hash`; the first of them is the key itself.
        most: blocks.
    """

    def __init__(self, round_keys: Words, most: int) -> None:
        cipher = Cipher(algorithms.AES(round_keys[0, :2].tobytes()), modes.ECB())
        # One block in, one block out, under a public key: the permutation itself is wanted, not a mode.
        self._encryptor = cipher.encryptor()
        self._turned = np.empty(2 * most, np.uint64)
        self._encrypted = np.empty(_BLOCK_BYTES * (most + 1), np.uint8)

    def hash(self, nodes: Words, start: int, count: int, tweak: np.uint64) -> Words:
        """H(node xor tweak) for `count` blocks from row `start` on, a multiple of 16: uint64 [count, 2].

        The result is overwritten by the next call.
        """
        words = 2 * count
        turned, encrypted = self._turned[:words], self._encrypted[: _BLOCK_BYTES * count].view(np.uint64)
        turn_nodes(nodes, 2 * start, turned, tweak)
        self._encryptor.update_into(turned.view(np.uint8).data, self._encrypted.data)
        encrypted ^= turned
        return encrypted.reshape(count, 2)


def blocks_of_keys(count: int, nodes: int) -> Iterator[slice]:
    """Whole chunks of keys, of a block each, where a key has so many nodes. `count` is rounded up."""
    step = CHUNK * max(1, _NODES // (CHUNK * nodes))
    count = -(-count // CHUNK) * CHUNK
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def start_nodes(root: Words, rank: int) -> Words:
    """The roots with their lowest bits forced to the rank."""
    nodes = np.array(root, np.uint64, order="C")
    nodes[:, 0] &= ~np.uint64(1)
    nodes[:, 0] |= np.uint64(rank)
    return nodes


class BothNodes:
    """A node a key of both parties, on the path that keys are made along.

    Args:
        round_keys: of a `Hash`.
        spans: the blocks of keys that will be worked on.
    """

    def __init__(self, round_keys: Words, spans: list[slice]) -> None:
        most = max((span.stop - span.start for span in spans), default=0)
        self._hash, self._memory = BulkHash(round_keys, 2 * most), np.empty((2 * most, 2), np.uint64)
        self.state = self.delta = self._memory[:0]

    def start(self, roots: Words) -> None:
        """Starts from the roots of a block, uint64 [2, K, 2]."""
        self.state = start_nodes(roots[0], 0)
        """Party 0's nodes, uint64 [K, 2]."""
        self.delta = self.state ^ start_nodes(roots[1], 1)
        """These XOR party 1's."""

    def hash(self, tweak: np.uint64) -> Words:
        """H of party 0's nodes and of party 1's: uint64 [2 K, 2], overwritten by the next call."""
        keys = len(self.state)
        self._memory[:keys] = self.state
        np.bitwise_xor(self.state, self.delta, out=self._memory[keys : 2 * keys])
        return self._hash.hash(self._memory, 0, 2 * keys, tweak)


class Neighbours:
    """Neighbouring nodes of blocks of keys, found together; see `neighbours.expand_neighbours`.

    Args:
        round_keys: of a `Hash`.
        nodes_at: int64 [levels + 1], how many to keep on each level.
        leaves: nodes a key for which there is room on the last level, if more.
        keys: of all blocks together.
    """

    def __init__(self, round_keys: Words, nodes_at: NDArray[np.int64], leaves: int, keys: int) -> None:
        self._nodes_at = nodes_at
        most = int(nodes_at.max())
        self.blocks = list(blocks_of_keys(keys, most))
        """Slices of keys."""
        largest = max((block.stop - block.start for block in self.blocks), default=0)
        self._hash = BulkHash(round_keys, most * largest)
        slots = 1 + max(leaves, 2 * most)
        self._lists = tuple(np.empty((slots * largest, 2), np.uint64) for _ in range(2))

    def expand(self, rank: int, bits: int, cw: Words, root: Words, first: Words) -> tuple[Words, int]:
        """Walks down all levels of `cw`.

        Args:
            bits: of a point in `first`.
            cw: uint64 [levels, N, 2] or more levels than `nodes_at` has.
            root, first: uint64 [K, 2] and [K], of one block.

        Returns:
            Memory with the nodes, and the row at which they begin; overwritten by the next call.
        """
        keys = len(root)
        here, there = self._lists
        here[keys : 2 * keys] = start_nodes(root, rank)
        for level in range(len(self._nodes_at) - 1):
            held = int(self._nodes_at[level])
            hashes = self._hash.hash(here, keys, held * keys, INNER)
            shift = np.uint64(64 - bits + level)
            expand_nodes(here, there, keys, held, bool(held >> level), cw[level], first, shift, hashes)
            here, there = there, here
        return here, keys

    def hash(self, nodes: Words, row: int, keys: int, tweak: np.uint64) -> Words:
        """H of the nodes on the last level: uint64 [nodes K, 2], overwritten by the next call."""
        return self._hash.hash(nodes, row, int(self._nodes_at[-1]) * keys, tweak)

    def convert(self, nodes: Words, row: int, keys: int, correction: Words) -> None:
        """Turns the nodes on the last level into leaves, in place; `correction` is uint64 [K, 2]."""
        hashes = self.hash(nodes, row, keys, LEAF)
        convert_nodes(nodes, row, keys, int(self._nodes_at[-1]), correction, hashes)
