"""The incremental DPF on compiled kernels: arrays of any length, cut into whole chunks and a padded rest."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.kernels import idpf_bulk, idpf_kernels
from protocols.kernels.aes import Hash
from protocols.kernels.chunks import CHUNK, Part, parts
from protocols.kernels.lines import Lines
from protocols.kernels.processor import uses_compiled
from protocols.kernels.window import nodes_in_range

Words = NDArray[np.uint64]


def loops() -> ModuleType:
    """The loops that this process runs: with AES instructions, or with AES by OpenSSL."""
    return idpf_kernels if uses_compiled() else idpf_bulk


def generate(
    bits: int,
    depths: tuple[int, ...],
    alpha: Words,
    roots: Words,
    wanted: Words,
    hash: Hash,
    cw: Words,
    values: Words,
) -> None:
    """Fills `cw` [max(depths), N, 2] and `values` [1 or 2, len(depths), N], from `wanted`, of that shape."""
    value_at = np.full(depths[-1], -1, np.int64)
    value_at[np.array(depths) - 1] = np.arange(len(depths))
    for part in parts(len(alpha)):
        made, valued = part.room(cw, 1), part.room(values, 2)
        points, starts, ends = part.of(alpha), part.of(roots, 1), part.of(wanted, 2)
        loops().make_keys(
            bits, value_at, points, starts, ends, hash.round_keys, made, valued, part.stop - part.start
        )
        part.keep(made, cw, 1)
        part.keep(valued, values, 2)


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
    tables = np.ascontiguousarray(table).view(np.uint64)[:, None]
    sums = np.empty(len(root), np.uint64)
    for part in parts(len(root)):
        total = part.room(sums)
        loops().sum_range(
            rank,
            part.of(cw, 1),
            part.of(values),
            part.of(root),
            part.of(first),
            part.of(counts.view(np.uint64)),
            tables,
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
    loops().sum_range(
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


def line_lookup(
    rank: int, cw: Words, values: Words, root: Words, lines: Lines, hash: Hash
) -> NDArray[np.int64]:
    """See `idpf.line_lookup`; `values` is [L, 2, N].

    A few keys are repeated, each copy for a segment of every range.
    """
    keys, width = len(root), lines.values.shape[1]
    copies = CHUNK // keys if 0 < 2 * keys <= CHUNK else 1
    length = -(-width // copies)
    offsets = np.repeat(np.arange(copies) * length, keys).astype(np.int64)
    tables, slopes = (_tables(_Same(array), copies, length, keys) for array in (lines.values, lines.slopes))
    reach = length if copies > 1 else width
    counts = np.clip(_copies(lines.counts, copies, 1) - offsets, 0, reach).view(np.uint64)
    first = _modulo(_copies(lines.first, copies, 1) + offsets.view(np.uint64), lines.depths)
    places = _copies(lines.places, copies, 1).view(np.uint64)
    copied = _copies(cw, copies, 1), _copies(values, copies, 2), _copies(root, copies, 0)
    held = _nodes_of_lines(tuple(lines.depths.tolist()), reach)
    sums = np.empty(copies * keys, np.uint64)
    for part in parts(len(sums)):
        total = part.room(sums)
        loops().sum_lines(
            rank,
            lines.depths,
            part.of(copied[0], 1),
            part.of(copied[1], 2),
            part.of(copied[2]),
            part.of(first, 1),
            part.of(counts, 1),
            part.of(places, 1),
            tables,
            slopes,
            held,
            hash.round_keys,
            total,
        )
        part.keep(total, sums)
    return sums.reshape(copies, keys).sum(0, dtype=np.uint64).view(np.int64)


class _Same:
    """An array of public values that is never written to, as a key: the same one, not an equal one."""

    def __init__(self, array: NDArray[np.int64]) -> None:
        self.array = array

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.array is self.array


@lru_cache(maxsize=256)
def _tables(of: _Same, copies: int, length: int, keys: int) -> Words:
    """[L, W] as [L, W, 1] for all keys, or [L, length, CHUNK]: a segment for each copy of every key."""
    array = of.array.view(np.uint64)
    if copies == 1:
        return np.ascontiguousarray(array[..., None])
    padded = np.zeros((len(array), copies * length), np.uint64)
    padded[:, : array.shape[1]] = array
    segments = padded.reshape(len(array), copies, length).transpose(0, 2, 1)
    lanes = np.zeros((len(array), length, CHUNK), np.uint64)
    lanes[..., : copies * keys] = np.repeat(segments, keys, axis=-1)
    return lanes


def _copies(array: NDArray[Any], copies: int, axis: int) -> NDArray[Any]:
    """The array so often, one copy after the other along an axis."""
    if copies == 1:
        return array
    before, after = array.shape[:axis], array.shape[axis:]
    result = np.empty((*before, copies, *after), array.dtype)
    result[...] = array.reshape(*before, 1, *after)
    return result.reshape(*before, copies * after[0], *after[1:])


@lru_cache(maxsize=256)
def _nodes_of_lines(depths: tuple[int, ...], reach: int) -> NDArray[np.int64]:
    """`nodes_in_range` of every line, [L, largest depth + 1]."""
    held = np.zeros((len(depths), max(depths) + 1), np.int64)
    for row, depth in zip(held, depths, strict=True):
        row[: depth + 1] = nodes_in_range(depth, reach, depth)
    return held


def _modulo(first: Words, depths: NDArray[np.int64]) -> Words:
    """Rows modulo 2^depth."""
    return first & (np.uint64(0xFFFFFFFFFFFFFFFF) >> (64 - depths).astype(np.uint64))[:, None]


def _chunk(array: NDArray[np.uint64], axis: int = 0) -> NDArray[np.uint64]:
    """The array with zeros up to a whole chunk of keys; read-only, as kernels are compiled for."""
    return Part(0, array.shape[axis], True).of(array, axis)


def prefix_sum(
    rank: int, cw: Words, values: Words, root: Words, points: Words, hash: Hash
) -> NDArray[np.int64]:
    """See `idpf.prefix_sum`."""
    count, keys = points.shape
    copies = max(1, min(count, CHUNK // max(keys, 1)))  # few keys fill a chunk with several points each
    rows = np.zeros((-(-count // copies), copies * keys), np.uint64)
    rows.reshape(-1)[: points.size] = points.reshape(-1)
    cw, values, root = (
        np.concatenate([array] * copies, axis) for array, axis in ((cw, 1), (values, 1), (root, 0))
    )
    sums = np.empty(rows.shape, np.uint64)
    for part in parts(len(root)):
        levels, shares, roots = part.of(cw, 1), part.of(values, 1), part.of(root)
        for row, out in zip(rows, sums, strict=True):
            total = part.room(out)
            loops().sum_prefixes(rank, levels, shares, roots, part.of(row), hash.round_keys, total)
            part.keep(total, out)
    return sums.reshape(-1)[: points.size].reshape(points.shape).view(np.int64)
