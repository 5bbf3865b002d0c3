"""The loops of `dpf_kernels.py` with AES by OpenSSL: the same arguments, bit for bit the same results."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import INNER, LEAF
from protocols.kernels.bulk import BothNodes, BulkHash, Neighbours, blocks_of_keys, start_nodes
from protocols.kernels.bulk_loops import convert_nodes, correct_nodes, descend_nodes
from protocols.kernels.leaves import copy_to_rows, leaf_parities, make_leaves, sum_leaves

Words = NDArray[np.uint64]


def walk(
    rank: int,
    bits: int,
    blocks: Words,
    root: Words,
    points: Words,
    round_keys: Words,
    parities: NDArray[np.uint8],
) -> None:
    """Prefix parities at one point a key: see `dpf.prefix_parity`."""
    levels = len(blocks) - 1
    spans = list(blocks_of_keys(len(parities), 1))
    bulk = BulkHash(round_keys, max((span.stop - span.start for span in spans), default=0))
    for span in spans:
        state = start_nodes(root[span], rank)
        parity, keys, here = np.zeros_like(state), len(state), points[span]
        for level in range(levels):
            hashes = bulk.hash(state, 0, keys, INNER)
            shift = np.uint64(64 - bits + level)
            descend_nodes(state, parity, blocks[level, span], here, shift, hashes)
        hashes = bulk.hash(state, 0, keys, LEAF)
        convert_nodes(state, 0, keys, 1, blocks[levels, span], hashes)
        leaf_parities(state, parity, here, parities[span])


def make_keys(
    bits: int,
    alpha: Words,
    roots: Words,
    round_keys: Words,
    blocks: Words,
    signs: NDArray[np.int8],
) -> None:
    """Writes correction words and signs: see `dpf.generate`."""
    levels = len(blocks) - 1
    spans = list(blocks_of_keys(len(signs), 2))
    both = BothNodes(round_keys, spans)
    for span in spans:
        both.start(roots[:, span])
        for level in range(levels):
            hashes, shift = both.hash(INNER), np.uint64(64 - bits + level)
            correct_nodes(both.state, both.delta, blocks[level, span], alpha[span], shift, hashes)
        hashes, keys = both.hash(LEAF), len(both.state)
        leaf = blocks[levels, span]
        make_leaves(both.state, hashes[:keys], hashes[keys:], alpha[span], leaf, signs[span])


def sum_window(
    rank: int,
    bits: int,
    blocks: Words,
    root: Words,
    first: Words,
    starts: NDArray[np.int64],
    entries: NDArray[np.int32] | NDArray[np.int64],
    filled: int,
    leaves: int,
    nodes_at: NDArray[np.int64],
    round_keys: Words,
    sums: NDArray[np.int64],
) -> None:
    """Sums of table entries: see `dpf_kernels.sum_window`."""
    levels, held = len(blocks) - 1, int(nodes_at[-1])
    trees = Neighbours(round_keys, nodes_at, max(leaves, filled + 1), len(sums))
    for span in trees.blocks:
        here = first[span]
        nodes, row = trees.expand(rank, bits, blocks[:levels, span], root[span], here)
        trees.convert(nodes, row, len(here), blocks[levels, span])
        sum_leaves(bits, nodes, row, held, leaves, here, starts[span], entries, filled, sums[span])


def copy_leaves(
    rank: int,
    bits: int,
    blocks: Words,
    root: Words,
    nodes_at: NDArray[np.int64],
    round_keys: Words,
    out: Words,
) -> None:
    """All leaves of every key: uint64 [N, leaves, 2]."""
    levels = len(blocks) - 1
    trees = Neighbours(round_keys, nodes_at, int(nodes_at[-1]), len(out))
    for span in trees.blocks:
        first = np.zeros(span.stop - span.start, np.uint64)
        first.flags.writeable = False  # one type to compile for
        nodes, row = trees.expand(rank, bits, blocks[:levels, span], root[span], first)
        trees.convert(nodes, row, len(first), blocks[levels, span])
        copy_to_rows(nodes, row, out[span])
