"""A public prefix under the FSS suite: keys and values of the server, brought in masked as weights are.

A session's caches begin with them (`protocols.fss.gates.known_cache`), in the formats in which attention
keeps its own keys and values (`attention_inputs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import KVCache
from mpcinfer.models.kept_heads import KeptHeads
from mpcinfer.models.prefix_run import PrefixRun
from mpcinfer.suites.fss.widths import Widths
from parties.errors import RangeError
from protocols.fss.gates.cached import CachedShare
from protocols.fss.gates.known_cache import (
    known_at_client,
    known_at_dealer,
    known_at_server,
    known_in_clear,
    known_shape,
)
from protocols.fss.preprocessing.matrix import Drawn, Factor, Matrix
from protocols.fss.preprocessing.seeds import WeightStreams
from protocols.meta_tensors import no_data
from protocols.share import Share

Bring = Callable[[Matrix], CachedShare]
"""What somebody has of a prefix's keys or values."""


def prefix_matrices(config: ModelConfig, widths: Widths, tokens: int) -> dict[str, Matrix]:
    """Name, shape [H_kv, m, K], scale and ring of a prefix's keys and values, without data; dropped heads
    have none.

    Args:
        tokens: m; 0 for no prefix, and nothing.
    """
    p = widths.precision
    result: dict[str, Matrix] = {}
    for layer in range(config.layers if tokens else 0):
        attention = widths.attention(layer)
        shape = (len(KeptHeads.of(config, layer).key_heads), tokens, config.head_width)
        formats = {"keys": (p.key, attention.score_bits), "values": (p.value, attention.mix_bits)}
        for part, (frac_bits, ring_bits) in formats.items():
            name = _name(layer, part)
            result[name] = Matrix(name, shape, frac_bits, ring_bits, no_data(shape))
    return result


def encoded_prefix(config: ModelConfig, widths: Widths, run: PrefixRun) -> dict[str, Matrix]:
    """The server's, in fixed point, rounded to nearest.

    Raises:
        RangeError: a number does not fit its ring; nothing was sent yet.
    """
    result: dict[str, Matrix] = {}
    for name, matrix in prefix_matrices(config, widths, run.tokens).items():
        layer, part = _of(name)
        rows = (run.keys if part == "keys" else run.values)[layer]
        grid = (rows * 2.0**matrix.frac_bits).round()
        largest = float(grid.abs().max())
        if not largest < 2.0 ** (matrix.ring_bits - 2):
            raise RangeError(
                f"public prefix: {part} of layer{layer}.attn reach {largest / 2.0**matrix.frac_bits:.4g}, "
                f"which a ring of {matrix.ring_bits} bits with {matrix.frac_bits} after the point cannot hold"
            )
        result[name] = Matrix(name, matrix.shape, matrix.frac_bits, matrix.ring_bits, grid.to(torch.int64))
    return result


def prefix_cache(weights: Mapping[str, Matrix], layers: int, batch: int, bring: Bring) -> KVCache[Share]:
    """A cache that begins with a prefix, the same for every sequence; an empty one where weights have none.

    Args:
        weights: of one evaluation, under their usual names.
        batch: B, sequences of every pass.
        bring: makes [H_kv, m, K] of what is here of it.
    """
    cache: KVCache[Share] = KVCache()
    if _name(0, "keys") not in weights:
        return cache

    def rows(layer: int, part: str) -> CachedShare:
        every = bring(weights[_name(layer, part)])
        return every.arranged(lambda value: value.expand(batch, *value.shape))

    cache.keys = [rows(layer, "keys") for layer in range(layers)]
    cache.values = [rows(layer, "values") for layer in range(layers)]
    cache.length = cache.keys[0].shape[-2]
    return cache


def bring_at_server(streams: WeightStreams) -> Bring:
    """The server draws the masks once more."""
    return lambda matrix: known_at_server(matrix, streams(matrix.name, matrix.shape))


def bring_at_dealer(masks: Factor) -> Bring:
    """The dealer has the masks alone."""

    def bring(matrix: Matrix) -> CachedShare:
        mask = masks(matrix)
        return known_at_dealer(matrix, mask.whole() if isinstance(mask, Drawn) else mask)

    return bring


BRING_AT_CLIENT: Bring = known_at_client
BRING_IN_CLEAR: Bring = known_in_clear
BRING_SHAPES: Bring = known_shape


def _name(layer: int, part: str) -> str:
    return f"prefix.layer{layer}.{part}"


def _of(name: str) -> tuple[int, str]:
    _, layer, part = name.split(".")
    return int(layer.removeprefix("layer")), part
