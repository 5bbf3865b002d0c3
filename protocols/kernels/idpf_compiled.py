"""The incremental DPF on compiled kernels: arrays of any length, cut into whole chunks and a padded rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.aes import Hash
from protocols.kernels.chunks import parts
from protocols.kernels.idpf_kernels import Words, make_keys, sum_prefixes, sum_range
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
