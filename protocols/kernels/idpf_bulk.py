"""The loops of `idpf_kernels.py` with AES by OpenSSL: the same arguments, bit for bit the same results."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import INNER, VALUE
from protocols.kernels.bulk import BothNodes, BulkHash, Neighbours, blocks_of_keys, start_nodes
from protocols.kernels.bulk_loops import add_line, add_range, correct_nodes
from protocols.kernels.prefix_shares import add_last, add_left, change_sign, make_values, step_left

Words = NDArray[np.uint64]


def make_keys(
    bits: int,
    value_at: NDArray[np.int64],
    alpha: Words,
    roots: Words,
    wanted: Words,
    round_keys: Words,
    cw: Words,
    values: Words,
    keys: int,
) -> None:
    """Writes `cw` and `values` of the first `keys` keys: see `idpf_kernels.make_keys`."""
    spans = list(blocks_of_keys(keys, 2))
    both = BothNodes(round_keys, spans)
    for span in spans:
        both.start(roots[:, span])
        for level, row in enumerate(value_at.tolist()):
            hashes, shift = both.hash(INNER), np.uint64(64 - bits + level)
            correct_nodes(both.state, both.delta, cw[level, span], alpha[span], shift, hashes)
            if row >= 0:
                mine, theirs = np.split(both.hash(VALUE), 2)
                for word in range(len(values)):
                    there = (word, row, span)
                    make_values(both.state, word, mine, theirs, wanted[there], values[there])


def sum_range(
    rank: int,
    cw: Words,
    values: Words,
    root: Words,
    first: Words,
    counts: Words,
    tables: Words,
    nodes_at: NDArray[np.int64],
    round_keys: Words,
    sums: Words,
) -> None:
    """Sums of table entries: see `idpf_kernels.sum_range`."""
    depth, held = len(cw), int(nodes_at[-1])
    trees = Neighbours(round_keys, nodes_at, held, len(sums))
    sums[:] = 0
    for span in trees.blocks:
        nodes, row = trees.expand(rank, depth, cw[:, span], root[span], first[span])
        hashes = trees.hash(nodes, row, span.stop - span.start, VALUE)
        add_range(nodes, row, held, hashes, values[span], counts[span], tables, sums[span])
    change_sign(rank, sums)


def sum_lines(
    rank: int,
    depths: NDArray[np.int64],
    cw: Words,
    values: Words,
    root: Words,
    first: Words,
    counts: Words,
    places: Words,
    tables: Words,
    slopes: Words,
    nodes_at: NDArray[np.int64],
    round_keys: Words,
    sums: Words,
) -> None:
    """Sums over lines: see `idpf_kernels.sum_lines`."""
    sums[:] = 0
    for line, depth in enumerate(depths.tolist()):
        here = nodes_at[line, : depth + 1]
        held = int(here[-1])
        trees = Neighbours(round_keys, here, held, len(sums))
        for span in trees.blocks:
            nodes, row = trees.expand(rank, depth, cw[:depth, span], root[span], first[line, span])
            hashes = trees.hash(nodes, row, span.stop - span.start, VALUE)
            add_line(
                nodes,
                row,
                held,
                hashes,
                values[line, :, span],
                counts[line, span],
                places[line, span],
                tables[line],
                slopes[line],
                sums[span],
            )
    change_sign(rank, sums)


def sum_prefixes(
    rank: int, cw: Words, values: Words, root: Words, points: Words, round_keys: Words, sums: Words
) -> None:
    """Sums up to one point a key: see `idpf.prefix_sum`."""
    bits = len(cw)
    spans = list(blocks_of_keys(len(sums), 1))
    bulk = BulkHash(round_keys, max((span.stop - span.start for span in spans), default=0))
    sums[:] = 0
    for span in spans:
        state, here, total = start_nodes(root[span], rank), points[span], sums[span]
        for level in range(bits):
            shift = np.uint64(bits - 1 - level)
            left = bulk.hash(state, 0, len(state), INNER).copy()
            step_left(cw[level, span], here, shift, state, left)
            hashes = bulk.hash(left, 0, len(state), VALUE)
            add_left(here, shift, left, hashes, values[level, span], total)
        hashes = bulk.hash(state, 0, len(state), VALUE)
        add_last(rank, state, hashes, values[bits - 1, span], total)
