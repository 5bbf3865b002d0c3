"""The bill of a run under the FSS suite, on shapes alone."""

from __future__ import annotations

import dataclasses

from mpcinfer.backends.parts import Part, Pass, needed
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.site import Site
from mpcinfer.models.state_cache import cache_of, require_no_public_prefix, require_states
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.fss.prefix_states import opened_states, require_features
from mpcinfer.suites.fss.public_prefix import BRING_SHAPES, prefix_cache, prefix_matrices
from mpcinfer.suites.fss.range_check import CHECK, for_check
from mpcinfer.suites.fss.residual_widths import post_norm
from mpcinfer.suites.fss.second_evaluation import Evaluation, second_evaluation
from mpcinfer.suites.fss.weights import Sharing, count_setup, matrices
from mpcinfer.suites.fss.widths import Widths
from mpcinfer.suites.requests import Run
from parties.bill import Bill
from parties.meter import Meter
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.gate import shape_only
from protocols.fss.plans import is_faithful
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.preprocessing.seeds import charge_seeds
from protocols.fss.registry import has_polynomials
from protocols.fss.registry import resolve as resolve_fss
from protocols.plan import Plan
from protocols.share import Held, Share


def count_fss(plan: Plan, run: Run) -> Bill:
    """As `Suite.count`."""
    config, ranges, max_context, part = run.config, run.ranges, run.max_context, run.part
    counting = Counting(Meter(timed=False), exact_truncation=is_faithful(plan))
    padded, size = run.batch.padded, run.batch.size
    require_features(run.prefix, config, padded=padded, chunk=plan.chunk)
    widths = Widths(
        config,
        ranges,
        max_context=max_context,
        exact_truncation=is_faithful(plan),
        padded=padded,
        polynomial=has_polynomials(plan),
        state=run.prefix is not None,
        states=plan.chunk > 0,
    )
    first = Evaluation(plan, widths)
    decoder = _decoder(counting, config, first, part, size)
    public_prefix = prefix_matrices(config, widths, run.public_prefix)
    cache = prefix_cache(public_prefix, config.layers, size, BRING_SHAPES)
    second, checking, expected = None, decoder, {**decoder.weights, **public_prefix}
    if run.check_ranges:
        second = second_evaluation(
            plan, config, ranges, max_context=max_context, padded=padded, state=run.prefix is not None
        )
        checking = _decoder(counting, config, second, part, size)
        public_prefix = prefix_matrices(config, second.widths, run.public_prefix)
        cache.other = prefix_cache(public_prefix, config.layers, size, BRING_SHAPES)
        expected = {**expected, **for_check({**checking.weights, **public_prefix})}
    charge_seeds(counting.meter)
    count_setup(counting, expected)
    if plan.chunk:
        require_states(config, plan.chunk)
        require_no_public_prefix(run.public_prefix)
        cache = cache_of(plan.chunk)
    for each in run.passes:
        cache.rewind(each.start, decoder.backend.first_tokens)
        _pass(_with_prefix(decoder, first, cache, run), first.widths, cache, each, part, size)
        if second is not None:
            with counting.meter.span(CHECK):
                beside = cache.beside()
                _pass(_with_prefix(checking, second, beside, run), second.widths, beside, each, part, size)
    return counting.meter.bill()


def _decoder(
    counting: Counting, config: ModelConfig, evaluation: Evaluation, part: Part, size: int
) -> Decoder[Share, Matrix]:
    """The part's, with its weights."""
    suite, widths = resolve_fss(evaluation.plan), evaluation.widths
    weights = matrices(config, widths, needed(config, part), sharing=Sharing.of(suite))
    return Decoder(FssBackend(counting, config, widths, suite, size), config, weights)


def _with_prefix(
    decoder: Decoder[Share, Matrix], evaluation: Evaluation, cache: KVCache[Share], run: Run
) -> Decoder[Share, Matrix]:
    """With the states of the run's prefix, which a pass that begins a conversation opens."""
    if run.prefix is None or run.part not in ("all", "stack"):
        return decoder
    if cache.length == 0:
        backend, config = decoder.backend, decoder.config
        assert isinstance(backend, FssBackend)
        layers = [evaluation.widths.attention(layer) for layer in range(config.layers)]
        cache.prefix = opened_states(backend.executor, config, layers, run.prefix, None)
    return dataclasses.replace(decoder, prefix=cache.prefix)


def _pass(
    decoder: Decoder[Share, Matrix], widths: Widths, cache: KVCache[Share], run: Pass, part: Part, size: int
) -> None:
    """One forward pass of so many sequences, or the part of it."""
    backend, width = decoder.backend, decoder.config.width
    if part == "all":
        tokens = backend.tokens(None, run.tokens)
        backend.open_logits(decoder.forward(tokens, run.tokens, cache=cache, rows=run.rows))
        return
    if part == "embedding":
        decoder.embedding(backend.tokens(None, run.tokens), run.start)
    else:
        rows = run.tokens if part == "stack" else run.rows
        frac_bits, ring_bits = widths.precision.residual, widths.residual_bits
        residual = shape_only((size, rows, width), frac_bits, ring_bits, Held.MASKED)
        if not decoder.config.row_norms:
            residual = shape_only((size, rows, width), frac_bits, widths.held_bits, Held.SERVER_HELD)
        elif decoder.config.norm_order == "post" and part == "head":
            norm, ring_bits = post_norm(widths, Site(decoder.config.layers - 1, "norm2"))
            residual = shape_only((size, rows, width), norm.held, ring_bits, Held.SERVER_HELD)
        if part == "stack":
            decoder.stack(residual, start=run.start, cache=cache)
        else:
            decoder.head(residual)
    cache.length += run.tokens
