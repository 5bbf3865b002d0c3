"""The DPF on compiled kernels: arrays of any length, cut into whole chunks and a padded rest."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from protocols.kernels import dpf_bulk, dpf_kernels
from protocols.kernels.aes import Hash
from protocols.kernels.key_chunks import parts
from protocols.kernels.processor import uses_compiled
from protocols.kernels.window import inner_levels, nodes_by_level, touched_leaves
from protocols.kernels.window_table import WindowTable

Words = NDArray[np.uint64]


def loops() -> ModuleType:
    """The loops that this process runs: with AES instructions, or with AES by OpenSSL."""
    return dpf_kernels if uses_compiled() else dpf_bulk


def generate(bits: int, alpha: Words, roots: Words, hash: Hash, blocks: Words) -> NDArray[np.int8]:
    """Fills `blocks` [levels + 1, N, 2] with correction words and returns the signs."""
    signs = np.empty(len(alpha), np.int8)
    for part in parts(len(alpha)):
        made, sign = part.room(blocks, 1), part.room(signs)
        loops().make_keys(bits, part.of(alpha), part.of(roots, 1), hash.round_keys, made, sign)
        part.keep(made, blocks, 1)
        part.keep(sign, signs)
    return signs


def prefix_parity(
    rank: int, bits: int, blocks: Words, root: Words, points: Words, hash: Hash
) -> NDArray[np.uint8]:
    """See `dpf.prefix_parity`."""
    parities = np.empty(points.shape, np.uint8)
    for part in parts(len(root)):
        keys, roots = part.of(blocks, 1), part.of(root)
        for row, out in zip(points, parities, strict=True):
            parity = part.room(out)
            loops().walk(rank, bits, keys, roots, part.of(row), hash.round_keys, parity)
            part.keep(parity, out)
    return parities


def window_lookup(
    rank: int,
    bits: int,
    blocks: Words,
    root: Words,
    first: Words,
    table: WindowTable,
    which: NDArray[np.int64] | None,
    hash: Hash,
) -> NDArray[np.int64]:
    """See `dpf.window_lookup`."""
    held, leaves = nodes_by_level(bits, table.size), touched_leaves(bits, table.size)
    rows, sums = table.starts(which, len(root)), np.empty(len(root), np.int64)
    for part in parts(len(root)):
        total = part.room(sums)
        given = (part.of(blocks, 1), part.of(root), part.of(first), part.of(rows))
        around = (table.entries, table.leaves, leaves, held, hash.round_keys)
        loops().sum_window(rank, bits, *given, *around, total)
        part.keep(total, sums)
    return sums


def expand_all(rank: int, bits: int, blocks: Words, root: Words, hash: Hash) -> Words:
    """All leaves of every key: uint64 [N, leaves, 2]."""
    held = nodes_by_level(bits, 1 << bits)
    leaves = np.empty((len(root), 1 << inner_levels(bits), 2), np.uint64)
    for part in parts(len(root)):
        out = part.room(leaves)
        loops().copy_leaves(rank, bits, part.of(blocks, 1), part.of(root), held, hash.round_keys, out)
        part.keep(out, leaves)
    return leaves
