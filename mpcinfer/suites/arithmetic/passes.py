"""The passes of a run on an executor that has shapes and no data."""

from __future__ import annotations

from collections.abc import Callable

from mpcinfer.backends.parts import Pass, needed
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.arithmetic.public_prefix import shared_prefix
from mpcinfer.suites.requests import Run
from parties.meter import CLIENT
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.suite import Suite
from protocols.arithmetic.weight import Weight
from protocols.share import Share


def run_passes(
    executor: Arithmetic, suite: Suite, run: Run, after_each: Callable[[], None] | None = None
) -> None:
    """The passes of a run on an executor that needs neither inputs nor weights.

    Args:
        after_each: is called when a pass is over.
    """
    config = run.config
    backend = SecureBackend(executor, suite, config.vocabulary, run.ranges, run.batch, config.types)
    decoder = Decoder(backend, config, backend.load(config, None, needed(config, run.part)))
    cache = shared_prefix(backend, config, run.public_prefix, run.batch.size, None)
    for each in run.passes:
        cache.rewind(each.start, backend.first_tokens)
        _pass(decoder, backend, cache, each, run)
        if after_each is not None:
            after_each()


def _pass(
    decoder: Decoder[Share, Weight], backend: SecureBackend, cache: KVCache[Share], each: Pass, run: Run
) -> None:
    """One forward pass, or the part of it."""
    part, size = run.part, (run.batch.size, decoder.config.width)
    if part == "all":
        tokens = backend.tokens(None, each.tokens)
        backend.open_logits(decoder.forward(tokens, each.tokens, cache=cache, rows=each.rows))
        return
    if part == "embedding":
        decoder.embedding(backend.tokens(None, each.tokens), each.start)
    elif part == "stack":
        decoder.stack(_activation(backend, each.tokens, *size), start=each.start, cache=cache)
    else:
        decoder.head(_activation(backend, each.rows, *size))
    cache.length += each.tokens


def _activation(backend: SecureBackend, tokens: int, batch: int, width: int) -> Share:
    return backend.executor.share_from(CLIENT, None, (batch, tokens, width))
