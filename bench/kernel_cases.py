"""Kernels to measure, each at the sizes of a GPT-2 layer with 128 tokens, or of a decoding step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from parties.packing import pack_words, unpack_words
from parties.randomness import InsecureTestRandom
from protocols.kernels import idpf
from protocols.kernels.aes import Hash
from protocols.kernels.dpf import DpfKeys, generate, prefix_parity, window_lookup
from protocols.kernels.lines import Lines
from protocols.kernels.ring_products import ring_matmul, ring_matmul_transposed
from protocols.kernels.window import nodes_in_range
from protocols.kernels.window_table import WindowTable

GELU_KEYS, GELU_BITS, GELU_WINDOW = 128 * 3072, 14, 512
EXP_KEYS, EXP_BITS, EXP_WINDOW = 12 * 128 * 129 // 2, 16, 4096

HASH = Hash(bytes(range(16)))
RANDOM = InsecureTestRandom(0)


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel to measure.

    Attributes:
        kernel: its name and sizes.
        work: what one run does, counted in `unit`.
        unit: such as hashes or entries.
        prepare: makes the inputs and returns what is to be timed.
    """

    kernel: str
    work: float
    unit: str
    prepare: Callable[[], Callable[[], object]]


def _hashing(blocks: int) -> Case:
    def prepare() -> Callable[[], object]:
        source = RANDOM.uint64((blocks, 2))
        return lambda: HASH.hash(source)

    return Case(f"hash, {blocks} blocks, copied in and out", blocks, "blocks", prepare)


def _points(count: int, bits: int) -> NDArray[np.uint64]:
    return RANDOM.uint64((count,)) >> np.uint64(64 - bits)


def _keys(count: int, bits: int) -> tuple[DpfKeys, NDArray[np.uint64]]:
    roots = RANDOM.uint64((2, count, 2))
    return generate(_points(count, bits), bits, roots, HASH)[0], roots[0]


def _generation(name: str, count: int, bits: int) -> Case:
    def prepare() -> Callable[[], object]:
        alpha, roots = _points(count, bits), RANDOM.uint64((2, count, 2))
        return lambda: generate(alpha, bits, roots, HASH)

    return Case(f"dpf generate, {name}: {count} keys of {bits} bits", count, "keys", prepare)


def _comparison(name: str, count: int, bits: int) -> Case:
    def prepare() -> Callable[[], object]:
        (keys, root), points = _keys(count, bits), _points(count, bits)[None]
        return lambda: prefix_parity(0, keys, root, points, HASH)

    nodes = count * (max(0, bits - 7) + 1)
    return Case(f"dpf prefix parity, {name}: {count} keys of {bits} bits", nodes, "nodes", prepare)


def _lookup(name: str, count: int, bits: int, window: int, entry_bits: int) -> Case:
    def prepare() -> Callable[[], object]:
        (keys, root), first = _keys(count, bits), _points(count, bits)
        table = WindowTable(RANDOM.uint64((window,)).view(np.int64) >> (64 - entry_bits))
        return lambda: window_lookup(0, keys, root, first, table, HASH)

    sizes = f"{count} keys of {bits} bits, {window} entries of {entry_bits} bits"
    return Case(f"dpf window look-up, {name}: {sizes}", count * window, "entries", prepare)


def _packing(count: int, bits: int, pack: bool) -> Case:
    def prepare() -> Callable[[], object]:
        words = RANDOM.uint64((count,))
        packed = pack_words(words, bits)
        return (lambda: pack_words(words, bits)) if pack else (lambda: unpack_words(packed.data, bits, count))

    name = "pack" if pack else "unpack"
    return Case(f"{name}, {count} words of {bits} bits", count * 8, "bytes of words", prepare)


def _product(
    rows: int, inner: int, columns: int, dtype: torch.dtype, transposed: bool = False, ring_bits: int = 64
) -> Case:
    def prepare() -> Callable[[], object]:
        x = torch.from_numpy(RANDOM.uint64((rows, inner)).view(np.int64))
        shape = (columns, inner) if transposed else (inner, columns)
        weight = torch.from_numpy(RANDOM.uint64(shape).view(np.int64)).to(dtype)
        multiply = ring_matmul_transposed if transposed else ring_matmul
        return lambda: multiply(x, weight, ring_bits)

    sizes = f"[{rows}, {inner}] x [{inner}, {columns}] of {str(dtype).removeprefix('torch.')}"
    name = f"ring product, {sizes}{', transposed' if transposed else ''}"
    name += f" in rings of {ring_bits} bits" if ring_bits < 64 else ""
    return Case(name, rows * inner * columns, "products", prepare)


def _prefix_generation(count: int, bits: int, depths: tuple[int, ...]) -> Case:
    def prepare() -> Callable[[], object]:
        alpha, roots = _points(count, bits), RANDOM.uint64((2, count, 2))
        return lambda: idpf.generate(alpha, bits, depths, roots, HASH)

    name = f"idpf generate, {count} keys of {bits} bits, {len(depths)} depths"
    return Case(name, 2 * count * (depths[-1] + len(depths)), "hashes", prepare)


def _range_lookup(count: int, depth: int, window: int) -> Case:
    def prepare() -> Callable[[], object]:
        alpha, roots = _points(count, depth), RANDOM.uint64((2, count, 2))
        keys = idpf.generate(alpha, depth, (depth,), roots, HASH)
        first, table = _points(count, depth), RANDOM.uint64((window,)).view(np.int64)
        return lambda: idpf.range_lookup(0, keys, roots[0], depth, first, window, table, HASH)

    hashes = count * (int(nodes_in_range(depth, window, depth)[:-1].sum()) + window)
    return Case(f"idpf range look-up, {count} keys, depth {depth}, {window} nodes", hashes, "hashes", prepare)


def _line_lookup(count: int, bits: int, ranges: int, width: int) -> Case:
    """Ranges at the last depths of the keys, as binades have them."""

    def prepare() -> Callable[[], object]:
        alpha, roots = _points(count, bits), RANDOM.uint64((2, count, 2))
        payload = RANDOM.uint64((ranges, count))
        keys = idpf.generate(alpha, bits, tuple(depths), roots, HASH, payload)
        tables = RANDOM.uint64((2, ranges, width)).view(np.int64)
        lines = Lines(
            np.array(depths, np.int64),
            _points(ranges * count, bits).reshape(ranges, count),
            np.full((ranges, count), width, np.int64),
            payload.view(np.int64),
            *tables,
        )
        return lambda: idpf.line_lookup(0, keys, roots[0], lines, HASH)

    depths = range(bits - ranges + 1, bits + 1)
    hashes = sum(int(nodes_in_range(depth, width, depth)[:-1].sum()) + width for depth in depths)
    name = f"idpf line look-up, {count} keys of {bits} bits, {ranges} ranges of {width} nodes"
    return Case(name, count * hashes, "hashes", prepare)


def _prefix_sum(count: int, bits: int, points: int) -> Case:
    def prepare() -> Callable[[], object]:
        alpha, roots = _points(count, bits), RANDOM.uint64((2, count, 2))
        keys = idpf.generate(alpha, bits, tuple(range(1, bits + 1)), roots, HASH)
        x = _points(points * count, bits).reshape(points, count)
        return lambda: idpf.prefix_sum(0, keys, roots[0], x, HASH)

    name = f"idpf prefix sum, {count} keys of {bits} bits, {points} points"
    return Case(name, points * count * (2 * bits + 1), "hashes", prepare)


CASES = (
    _hashing(1 << 14),
    _generation("GELU", GELU_KEYS, GELU_BITS),
    _comparison("GELU", GELU_KEYS, GELU_BITS),
    _comparison("40 bits", 1 << 16, 40),
    _lookup("GELU", GELU_KEYS, GELU_BITS, GELU_WINDOW, 16),
    _lookup("exp", EXP_KEYS, EXP_BITS, EXP_WINDOW, 16),
    _lookup("exp", EXP_KEYS, EXP_BITS, EXP_WINDOW, 40),
    _packing(GELU_KEYS, 20, pack=True),
    _packing(GELU_KEYS, 20, pack=False),
    _product(128, 768, 3072, torch.int16),
    _product(128, 768, 3072, torch.int64),
    _product(128, 768, 3072, torch.int16, ring_bits=47),
    _product(128, 768, 3072, torch.int64, ring_bits=47),
    _product(1, 768, 3072, torch.int16),
    _product(1, 768, 50257, torch.int16, transposed=True),
    _prefix_generation(1536, 40, tuple(range(16, 41, 2))),
    _range_lookup(1536, 40, 128),
    _range_lookup(128, 56, 256),
    _line_lookup(1536, 25, 14, 64),
    _line_lookup(1, 55, 28, 64),
    _prefix_sum(128, 56, 16),
)
"""Every kernel that is measured; a new one is one more line here."""
