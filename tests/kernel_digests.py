"""Digests of what kernels and a whole session give for fixed seeds: the same under every kernel set.

    python -m tests.kernel_digests      prints the kernel set and both digests as JSON

Weights are drawn as integers, for not even torch draws the same floats on every processor.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from parties.packing import pack_words, unpack_words
from parties.randomness import InsecureTestRandom
from protocols.kernels import idpf
from protocols.kernels.aes import LEAF, Hash
from protocols.kernels.bit_transpose import transpose_bits
from protocols.kernels.correlated_tree import grow, regrow
from protocols.kernels.dpf import expand_all, generate, prefix_parity, window_lookup
from protocols.kernels.entries import Layout
from protocols.kernels.histogram import suffix_counts
from protocols.kernels.lines import Lines
from protocols.kernels.local_code import add_products
from protocols.kernels.option_masks import option_masks
from protocols.kernels.processor import kernel_set
from protocols.kernels.ring_products import ring_matmul, ring_matmul_transposed
from protocols.kernels.tweaked_hash import tweaked_hash
from protocols.kernels.window_table import WindowTable
from tests.mpcinfer.fss_parties import PROBABILISTIC, Whole, deal, run_private
from tests.mpcinfer.three_parties import random_model

_SMALL = ModelConfig(
    layers=1, width=24, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=256, context=24
)
_STEPS = ([102, 40, 120], [41])
_KEYS = 70
"""One chunk of keys and a rest."""

Arrays = Iterable[NDArray[Any]]


def digest(arrays: Arrays) -> str:
    """Of shapes, types and contents."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(repr((array.shape, array.dtype.str)).encode() + array.tobytes())
    return whole.hexdigest()


def point_keys() -> Arrays:
    """Keys, parities and sums of a few points, in domains of one leaf and of some."""
    random, hash = InsecureTestRandom(1), Hash(bytes(range(16)))
    yield hash.hash(random.uint64((_KEYS, 2)), LEAF)
    for bits, window in ((5, 20), (12, 300)):
        alpha, x = random.uint64((2, _KEYS)) >> np.uint64(64 - bits)
        roots, table = random.uint64((2, _KEYS, 2)), np.arange(-window // 3, window - window // 3)
        keys, signs = generate(alpha, bits, roots, hash)
        yield from (keys.words, signs, prefix_parity(1, keys, roots[1], x[None], hash))
        yield expand_all(0, keys, roots[0], hash)
        for entries in (table, table << 40):
            yield window_lookup(0, keys, roots[0], x, WindowTable(entries), hash)


def prefix_keys() -> Arrays:
    """Keys and sums of the incremental function: many keys, and a few that share a chunk."""
    random, hash, bits, width = InsecureTestRandom(2), Hash(bytes(range(16))), 12, 9
    depths = tuple(range(1, bits + 1))
    for count in (_KEYS, 3):
        alpha, x = random.uint64((2, count)) >> np.uint64(64 - bits)
        roots, payload = random.uint64((2, count, 2)), random.uint64((bits, count))
        keys = idpf.generate(alpha, bits, depths, roots, hash, payload)
        table = random.uint64((width,)).view(np.int64)
        yield from (keys.cw, keys.values)
        yield idpf.range_lookup(1, keys, roots[1], 7, x, width, table, hash)
        yield idpf.prefix_sum(1, keys, roots[1], x[None], hash)
        lines = Lines(
            np.array([5, 9, 12]),
            random.uint64((3, count)),
            np.full((3, count), width),
            random.uint64((3, count)).view(np.int64),
            *random.uint64((2, 3, width)).view(np.int64),
        )
        yield idpf.line_lookup(0, keys, roots[0], lines, hash)


def ot_kernels() -> Arrays:
    """Trees, code, hash and transpose of oblivious transfer."""
    random, hash, depth, trees = InsecureTestRandom(5), Hash(bytes(range(16))), 7, 37
    for count in (0, 5, 16, 70):
        yield tweaked_hash(hash, random.uint64((count, 2)), 12345, 6, random.uint64((2,)))
    yield option_masks(hash, random.uint64((21, 2)), random.uint64((4, 2)), 99, 13)
    yield transpose_bits(random.uint64((128, 3)))
    leaves, sums = random.uint64((2, trees, 1 << depth, 2)), np.empty((trees, depth - 1, 2), np.uint64)
    grow(hash, random.uint64((trees, 2)), random.uint64((2,)) | np.uint64(1), sums, leaves[0])
    regrow(hash, random.uint8((trees, depth)) & 1, random.uint64((trees, depth, 2)), leaves[1])
    code = random.uint64((333, 2))
    add_products(hash, random.uint64((100, 2)), code)
    yield from (sums, leaves, code)


def other_kernels() -> Arrays:
    """Packing, histograms, products."""
    random = InsecureTestRandom(3)
    for bits in (1, 13, 47, 64):
        packed = pack_words(random.uint64((101,)), bits)
        yield from (packed, unpack_words(packed.data, bits, 101))
    starts, shifts = np.array([0, 3, 40]), random.ring((40,), 6).astype(np.uint8)
    layout = Layout(6, 11)
    yield suffix_counts(random.uint8((40, layout.vector_bytes)), layout, shifts, starts)
    x, weight = (torch.from_numpy(random.uint64((17, 48)).view(np.int64)) for _ in range(2))
    for kind, ring_bits in ((torch.int16, 47), (torch.int16, 64), (torch.int64, 64)):
        narrow = weight.to(kind)
        product = ring_matmul(x, narrow.T.contiguous(), ring_bits)
        yield (product << (64 - ring_bits)).numpy()
        yield ring_matmul_transposed(x, narrow).numpy()


def _model() -> Model:
    """Drawn from a stream of integers, with floats of few bits."""
    model, random = random_model(_SMALL), InsecureTestRandom(4)
    weights: dict[str, torch.Tensor] = {}
    for name, value in model.weights.items():
        drawn = random.ring(tuple(value.shape), 12).astype(np.int64) - 2048
        scaled = torch.from_numpy(drawn).float() / (4096.0 if value.ndim == 2 else 32768.0)
        weights[name] = scaled + 1.0 if "norm" in name and name.endswith(".weight") else scaled
    model = dataclasses.replace(model, weights=weights)
    return dataclasses.replace(model, ranges=calibrate(model, ["f(x)"]))


def session() -> Arrays:
    """All that a dealer writes and that two parties send, set-up and openings included, and the logits."""
    whole = Whole.of(_model(), PROBABILISTIC, max_context=sum(map(len, _STEPS)))
    for correlations in deal(whole.program, [len(ids) for ids in _STEPS], seed=1):
        for file in (correlations.server, correlations.client, correlations.linear):
            yield np.frombuffer(file.getvalue(), np.uint8)
    run = run_private(whole, _STEPS, seed=1)
    for frames in run.frames:
        for frame in frames:
            yield np.frombuffer(repr((frame.label, frame.depth, frame.specs)).encode(), np.uint8)
            yield from (np.frombuffer(part, np.uint8) for part in frame.payload)
    yield from (logits.numpy() for logits in run.logits)


def digests() -> dict[str, str]:
    """The kernel set, and a digest of each of the above."""
    kernels = [array for make in (point_keys, prefix_keys, ot_kernels, other_kernels) for array in make()]
    return {"set": kernel_set(), "kernels": digest(kernels), "session": digest(session())}


if __name__ == "__main__":
    print(json.dumps(digests()))
