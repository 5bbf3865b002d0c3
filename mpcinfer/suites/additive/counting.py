"""The bill of a run on CrypTen's primitives, on shapes alone."""

from __future__ import annotations

import torch

from mpcinfer.backends.parts import Pass, needed
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.suites.additive.backend import SecureBackend
from mpcinfer.suites.suite import Run
from parties.bill import Bill
from parties.meter import Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.registry import resolve
from protocols.additive.weight import Weight
from protocols.plan import Plan
from protocols.share import Share


def count_additive(plan: Plan, run: Run) -> Bill:
    """As `Suite.count`."""
    meter, config = Meter(timed=False), run.config
    executor, batch = CountingArithmetic.of_plan(plan, meter), run.batch
    backend = SecureBackend(executor, resolve(plan), config.vocabulary, run.ranges, batch)
    decoder = Decoder(backend, config, backend.load(config, None, needed(config, run.part)))
    cache: KVCache[Share] = KVCache()
    for each in run.passes:
        cache.rewind(each.start, backend.first_tokens)
        _pass(decoder, backend, cache, each, run)
    return meter.bill()


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
    shape = torch.empty(batch, tokens, width, dtype=torch.int64, device="meta")
    return Share(shape, backend.executor.frac_bits)
