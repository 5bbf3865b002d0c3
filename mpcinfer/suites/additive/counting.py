"""The bill of a run on CrypTen's primitives, on shapes alone."""

from __future__ import annotations

from mpcinfer.backends.parts import Pass, needed
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.suites.additive.backend import SecureBackend
from mpcinfer.suites.suite import Run
from parties.bill import Bill
from parties.meter import CLIENT, Meter
from protocols.additive.arithmetic import Arithmetic
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.registry import resolve
from protocols.additive.weight import Weight
from protocols.plan import Plan
from protocols.share import Share


def count_additive(plan: Plan, run: Run) -> Bill:
    """As `Suite.count`."""
    meter = Meter(timed=False)
    run_passes(CountingArithmetic.of_plan(plan, meter), plan, run)
    return meter.bill()


def run_passes(executor: Arithmetic, plan: Plan, run: Run) -> None:
    """The passes of a run on an executor that needs neither inputs nor weights."""
    config = run.config
    backend = SecureBackend(executor, resolve(plan), config.vocabulary, run.ranges, run.batch, config.types)
    decoder = Decoder(backend, config, backend.load(config, None, needed(config, run.part)))
    cache: KVCache[Share] = KVCache()
    for each in run.passes:
        cache.rewind(each.start, backend.first_tokens)
        _pass(decoder, backend, cache, each, run)


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
