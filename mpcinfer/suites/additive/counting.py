"""The bill of a run on CrypTen's primitives, on shapes alone."""

from __future__ import annotations

from mpcinfer.backends.parts import Part, Pass, needed
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
    backend = SecureBackend(executor, resolve(plan), config.vocabulary, run.ranges)
    decoder = Decoder(backend, config, backend.load(config, None, needed(config, run.part)))
    cache: KVCache[Share] = KVCache()
    for each in run.passes:
        cache.rewind(each.start, backend.first_tokens)
        _pass(decoder, backend, cache, each, run.part)


def _pass(
    decoder: Decoder[Share, Weight], backend: SecureBackend, cache: KVCache[Share], run: Pass, part: Part
) -> None:
    """One forward pass, or the part of it."""
    width = decoder.config.width
    if part == "all":
        tokens = backend.tokens(None, run.tokens)
        backend.open_logits(decoder.forward(tokens, run.tokens, cache=cache, rows=run.rows))
        return
    if part == "embedding":
        decoder.embedding(backend.tokens(None, run.tokens), run.start)
    elif part == "stack":
        decoder.stack(_activation(backend, run.tokens, width), start=run.start, cache=cache)
    else:
        decoder.head(_activation(backend, run.rows, width))
    cache.length += run.tokens


def _activation(backend: SecureBackend, tokens: int, width: int) -> Share:
    return backend.executor.share_from(CLIENT, None, (1, tokens, width))
