"""The incremental DPF on compiled kernels: arrays of any length, cut into whole chunks and a padded rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import Hash
from protocols.kernels.chunks import CHUNK, Part, parts
from protocols.kernels.idpf_kernels import Words, make_keys, sum_prefixes, sum_range, sum_segments
from protocols.kernels.window import nodes_in_range


def generate(
    bits: int, depths: tuple[int, ...], alpha: Words, roots: Words, hash: Hash, cw: Words, values: Words
) -> None:
    """Fills `cw` [max(depths), N, 2] and `values` [len(depths), N]."""
    value_at = np.full(depths[-1], -1, np.int64)
    value_at[np.array(depths) - 1] = np.arange(len(depths))
    for part in parts(len(alpha)):
        made, valued = part.room(cw, 1), part.room(values, 1)
        points, starts = part.of(alpha), part.of(roots, 1)
        make_keys(bits, value_at, points, starts, hash.round_keys, made, valued, part.stop - part.start)
        part.keep(made, cw, 1)
        part.keep(valued, values, 1)


def range_lookup(
    rank: int,
    cw: Words,
    values: Words,
    root: Words,
    first: Words,
    counts: NDArray[np.int64],
    table: NDArray[np.int64],
    hash: Hash,
) -> NDArray[np.int64]:
    """See `idpf.range_lookup`; `cw` ends at the depth, and no count is larger than the table."""
    if 0 < 2 * len(root) <= CHUNK and len(table) > 1:
        return _by_segments(rank, cw, values, root, first, counts, table, hash)
    held = nodes_in_range(len(cw), len(table), len(cw))
    entries = np.ascontiguousarray(table).view(np.uint64)
    sums = np.empty(len(root), np.uint64)
    for part in parts(len(root)):
        total = part.room(sums)
        sum_range(
            rank,
            part.of(cw, 1),
            part.of(values),
            part.of(root),
            part.of(first),
            part.of(counts.view(np.uint64)),
            entries,
            held,
            hash.round_keys,
            total,
        )
        part.keep(total, sums)
    return sums.view(np.int64)


def _by_segments(
    rank: int,
    cw: Words,
    values: Words,
    root: Words,
    first: Words,
    counts: NDArray[np.int64],
    table: NDArray[np.int64],
    hash: Hash,
) -> NDArray[np.int64]:
    """A few keys, each as often as a chunk has room for it: every copy takes a segment of the table."""
    keys, depth = len(root), len(cw)
    copies = CHUNK // keys
    length = -(-len(table) // copies)
    offsets = np.repeat(np.arange(copies) * length, keys)
    entries = np.zeros(copies * length, np.uint64)
    entries[: len(table)] = table.view(np.uint64)
    tables = np.zeros((length, CHUNK), np.uint64)
    tables[:, : copies * keys] = np.repeat(entries.reshape(copies, length).T, keys, axis=1)
    starts = np.tile(first, copies) + offsets.astype(np.uint64)
    if depth < 64:
        starts &= np.uint64((1 << depth) - 1)
    sums = np.empty(CHUNK, np.uint64)
    sum_segments(
        rank,
        _chunk(np.tile(cw, (1, copies, 1)), 1),
        _chunk(np.tile(values, copies)),
        _chunk(np.tile(root, (copies, 1))),
        _chunk(starts),
        _chunk(np.clip(np.tile(counts, copies) - offsets, 0, length).view(np.uint64)),
        tables,
        nodes_in_range(depth, length, depth),
        hash.round_keys,
        sums,
    )
    return sums[: copies * keys].reshape(copies, keys).sum(0).view(np.int64)


def _chunk(array: NDArray[np.uint64], axis: int = 0) -> NDArray[np.uint64]:
    """The array with zeros up to a whole chunk of keys; read-only, as kernels are compiled for."""
    return Part(0, array.shape[axis], True).of(array, axis)


def prefix_sum(
    rank: int, cw: Words, values: Words, root: Words, points: Words, hash: Hash
) -> NDArray[np.int64]:
    """See `idpf.prefix_sum`."""
    sums = np.empty(points.shape, np.uint64)
    for part in parts(len(root)):
        levels, shares, roots = part.of(cw, 1), part.of(values, 1), part.of(root)
        for row, out in zip(points, sums, strict=True):
            total = part.room(out)
            sum_prefixes(rank, levels, shares, roots, part.of(row), hash.round_keys, total)
            part.keep(total, out)
    return sums.view(np.int64)
