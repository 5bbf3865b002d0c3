"""A public prefix on additive shares: the server shares its keys and values once, as an input of its own.

Their shares are like those of any token before: what is opened later are factors minus fresh masks.
"""

from __future__ import annotations

from typing import Any

import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.kept_heads import KeptHeads
from mpcinfer.models.prefix_run import PrefixRun
from mpcinfer.suites.arithmetic.backend import SecureBackend
from parties.meter import SERVER, Phase
from protocols import fixed_point
from protocols.share import Share


def shared_prefix(
    backend: SecureBackend, config: ModelConfig, tokens: int, batch: int, run: PrefixRun | None
) -> KVCache[Share]:
    """A cache that begins with a prefix, the same for every sequence; an empty one without.

    Args:
        tokens: m; 0 for no prefix.
        batch: B, sequences of every pass.
        run: the server's; None at the client, and on shapes.

    Cost: in the set-up, what `share_from` of the executor takes of 2 m H_kv K numbers a layer. Nothing later.
    """
    cache, executor = KVCache[Share](), backend.executor

    def shared(rows: torch.Tensor | None, heads: int) -> Share:
        shape = (1, heads, tokens, config.head_width)
        own = executor.share_from(SERVER, None if rows is None else rows[None], shape)
        if batch == 1:
            return own
        return executor.rearrange(own, lambda value: value.expand(batch, *value.shape[1:]))

    with executor.meter.phase(Phase.SETUP), backend.span("setup", "setup"):
        for layer in range(config.layers if tokens else 0):
            heads = len(KeptHeads.of(config, layer).key_heads)
            cache.keys.append(shared(None if run is None else run.keys[layer], heads))
            cache.values.append(shared(None if run is None else run.values[layer], heads))
    cache.length = tokens
    return cache


def reference_cache(decoder: Decoder[Any, Any], run: PrefixRun) -> KVCache[Any]:
    """As `Suite.reference_cache`."""
    backend = decoder.backend
    if isinstance(backend, FixedBackend):
        bits = backend.frac_bits
        keys = [fixed_point.encode(rows[None], bits, "keys of a public prefix") for rows in run.keys]
        values = [fixed_point.encode(rows[None], bits, "values of a public prefix") for rows in run.values]
        return KVCache(run.tokens, keys, values)
    assert isinstance(backend, SecureBackend)
    return shared_prefix(backend, decoder.config, run.tokens, 1, run)
