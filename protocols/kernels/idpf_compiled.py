"""The incremental DPF on compiled kernels: arrays of any length, cut into whole chunks and a padded rest."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.kernels import idpf_bulk, idpf_kernels
from protocols.kernels.aes import Hash
from protocols.kernels.key_chunks import CHUNK, parts
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
    keys, depth = len(root), len(cw)
    copies, length, offsets = _segments(keys, len(table))
    tables = _lanes(table[None], copies, length, keys)[0]
    lengths = np.clip(_copies(counts, copies, 0) - offsets, 0, length).view(np.uint64)
    starts = _modulo((_copies(first, copies, 0) + offsets.view(np.uint64))[None], np.array([depth]))[0]
    copied = _copies(cw, copies, 1), _copies(values, copies, 0), _copies(root, copies, 0)
    held = nodes_in_range(depth, length, depth)
    sums = np.empty(copies * keys, np.uint64)
    for part in parts(len(sums)):
        total = part.room(sums)
        given = (part.of(copied[0], 1), part.of(copied[1]), part.of(copied[2]), part.of(starts))
        loops().sum_range(rank, *given, part.of(lengths), tables, held, hash.round_keys, total)
        part.keep(total, sums)
    return _total(sums, copies)


def _segments(keys: int, width: int) -> tuple[int, int, NDArray[np.int64]]:
    """How few keys fill a chunk: each as often as there is room, every copy for a segment of a table.

    Returns:
        Copies of a key, the length of a segment, and where that of every copy begins: int64 [copies keys].
    """
    copies = CHUNK // keys if 0 < 2 * keys <= CHUNK and width > 1 else 1
    length = -(-width // copies)
    return copies, length, np.repeat(np.arange(copies) * length, keys).astype(np.int64)


def _total(sums: Words, copies: int) -> NDArray[np.int64]:
    """The sums of all copies of every key."""
    return sums.reshape(copies, -1).sum(0, dtype=np.uint64).view(np.int64)


def line_lookup(
    rank: int, cw: Words, values: Words, root: Words, lines: Lines, hash: Hash
) -> NDArray[np.int64]:
    """See `idpf.line_lookup`; `values` is [L, 2, N].

    A few keys are repeated, each copy for a segment of every range.
    """
    keys = len(root)
    copies, length, offsets = _segments(keys, lines.values.shape[1])
    tables, slopes = (_tables(_Same(array), copies, length, keys) for array in (lines.values, lines.slopes))
    counts = np.clip(_copies(lines.counts, copies, 1) - offsets, 0, length).view(np.uint64)
    first = _modulo(_copies(lines.first, copies, 1) + offsets.view(np.uint64), lines.depths)
    places = _copies(lines.places, copies, 1).view(np.uint64)
    copied = _copies(cw, copies, 1), _copies(values, copies, 2), _copies(root, copies, 0)
    held = _nodes_of_lines(tuple(lines.depths.tolist()), length)
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
    return _total(sums, copies)


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
    """`_lanes` of public values."""
    return _lanes(of.array, copies, length, keys)


def _lanes(array: NDArray[np.int64], copies: int, length: int, keys: int) -> Words:
    """[L, W] as [L, W, 1] for all keys, or [L, length, CHUNK]: a segment for each copy of every key."""
    words = array.view(np.uint64)
    if copies == 1:
        return np.ascontiguousarray(words[..., None])
    padded = np.zeros((len(words), copies * length), np.uint64)
    padded[:, : words.shape[1]] = words
    segments = padded.reshape(len(words), copies, length).transpose(0, 2, 1)
    lanes = np.zeros((len(words), length, CHUNK), np.uint64)
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


def prefix_sum(
    rank: int, cw: Words, values: Words, root: Words, points: Words, hash: Hash
) -> NDArray[np.int64]:
    """See `idpf.prefix_sum`."""
    count, keys = points.shape
    copies = max(1, min(count, CHUNK // max(keys, 1)))  # few keys fill a chunk with several points each
    rows = np.zeros((-(-count // copies), copies * keys), np.uint64)
    rows.reshape(-1)[: points.size] = points.reshape(-1)
    cw, values, root = (_copies(array, copies, axis) for array, axis in ((cw, 1), (values, 1), (root, 0)))
    sums = np.empty(rows.shape, np.uint64)
    for part in parts(len(root)):
        levels, shares, roots = part.of(cw, 1), part.of(values, 1), part.of(root)
        for row, out in zip(rows, sums, strict=True):
            total = part.room(out)
            loops().sum_prefixes(rank, levels, shares, roots, part.of(row), hash.round_keys, total)
            part.keep(total, out)
    return sums.reshape(-1)[: points.size].reshape(points.shape).view(np.int64)
