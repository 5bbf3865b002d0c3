"""Attention, from masked queries, keys and values to an output that the server holds.

What all kinds have in common is here, and softmax; `fss_power_attention` has the others. Softmax:

1. Scores: a product of masked matrices, of which only what a query may see is computed; they are opened,
   and where they have a cap once more after it (`score_cap.py`).
2. The coarse maximum of every row: a histogram opened, a zero test.  3. It is opened.
4. exp(maximum - score): one look-up.  5. It is opened, with each row's sum.
6. Weights times values; opened together with each row's reciprocal; their product goes to the server.

Scores are in blocks of rows that stay in cache; what all blocks open in a step travels in one message.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.kinds import AttentionForm
from mpcinfer.models.padding import is_padding
from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.column_weights import with_column_weights
from mpcinfer.suites.fss.formats import exponential_formats, reciprocal, score_index_bits
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.prefix_states import added_by_state, query_features, read_state, with_zero
from mpcinfer.suites.fss.score_cap import capped_scores
from mpcinfer.suites.fss.seen_keys import seen_keys
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import CachedShare
from protocols.fss.gates.causal import CausalBlocks, CausalMix, CausalProduct, SeenKeys
from protocols.fss.gates.linear import ToServerHeld
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.operations.rescale import narrow, truncate_locally, view
from protocols.fss.operations.suite import FssSuite, MaximumProtocol
from protocols.share import Share


def quotient_to_server(executor: Executor, quotient: Share, widths: AttentionWidths, p: Precision) -> Share:
    """Attention's output for the next layer, held by the server; opened and cut first where it is too fine.

    Cost: 1 message to the server; where it is opened, a round more.
    """
    if widths.reopened:
        (opened,) = executor.apply(Open(), truncate_locally(executor, quotient, p.mixed))
        quotient = executor.one(Product(widths.out_bits), view(executor, opened, p.mixed))
    return executor.one(ToServerHeld(), truncate_locally(executor, quotient, widths.held))


def divide(
    executor: Executor, suite: FssSuite, mixed: Share, sums: Share, widths: AttentionWidths, p: Precision
) -> Share:
    """Weights times values over each row's masked sum, held by the server for the next layer.

    Cost: 2 rounds, and as `quotient_to_server` says.
    """
    weights = widths.weighting
    inverse = suite.reciprocal(
        executor, *reciprocal(widths, p, exact_truncation=executor.exact_truncation), sums
    )
    mixed, inverse = executor.apply(Open(), truncate_locally(executor, mixed, weights.mixed), inverse)
    mixed, inverse = view(executor, mixed, weights.mixed), view(executor, inverse, weights.inverse)
    return quotient_to_server(
        executor, executor.one(Product(widths.quotient_bits), mixed, inverse), widths, p
    )


def softmax_attention(
    executor: Executor,
    suite: FssSuite,
    q: Share,
    k: CachedShare,
    v: CachedShare,
    widths: AttentionWidths,
    p: Precision,
    form: AttentionForm,
    padding: Sequence[int] | None = None,
    state: AttentionState[Share] | None = None,
    columns: ColumnWeights | None = None,
) -> Share:
    """softmax(q k^T) v over the keys each query may see, held by the server for the next layer.

    Args:
        q: masked [B, H, T, K], divided by sqrt(K) already.
        k, v: masked [B, H, S, K], kept; the queries are the last T of the S positions. Where the form has
            patterns, heads are in the axis of positions (`in_one_axis`), and in the result's.
        padding: keys at the start of each sequence that have no weight, where widths have room for that
            (`Weighting.hidden`); at the client and in the clear. A query that sees no other keys sees them.
        form: which keys a query sees, and the scores' cap.
        state: what every query sees besides (`prefix_states.py`).
        columns: weights of keys, where there are any; at the client and in the clear.

    Cost: 7 rounds, those of `capped_scores` where there is a cap, and one more as `quotient_to_server` says;
        2 more with a state, for which rings are wider.
    """
    # Plans with exact truncation truncate by gates, a share and a round each: a single block there.
    seen, span = seen_keys(q, k, form, whole=executor.exact_truncation), executor.meter.span
    known = (padding, columns)
    with span("scores", "matmul"):
        scores = executor.apply(CausalProduct(seen), q, k, k.summand)
        beside: Sequence[Share] = [] if state is None else [query_features(executor, q, widths)]
        if not form.cap:
            scores, beside = _opened(executor, scores, seen, widths, p, known, beside)
    if form.cap:
        with span("cap", "tanh"):
            scores = capped_scores(executor, suite, scores, widths, p, form.cap)
            scores, beside = _opened(executor, scores, seen, widths, p, known, beside)
    with span("softmax", "softmax"):
        if state is not None:
            beside = [read_state(executor, beside[0], state, widths)]
        maximum = suite.maximum.for_bits(score_index_bits(widths, -p.step))
        frac = suite.exponential.index_frac(p.score, score_index_bits(widths, 0))
        peak, indices, beside = _below_maximum(executor, maximum, scores, seen, widths, p, frac, beside)
        around = exponential_formats(
            widths,
            p,
            coarse=maximum.coarse,
            exact_truncation=executor.exact_truncation,
            index_frac=frac,
        )
        powers = [
            truncate_locally(executor, power, p.power)
            for power in suite.exponential(executor, around, *indices)
        ]
        sums = executor.reduce(row_sums(executor, powers, seen), widths.sum_bits)
        more = None
        if beside:
            more = added_by_state(executor, suite.exponential, around, peak, beside[0], widths, p)
            sums = executor.add(sums, more[1])
        *powers, sums = executor.apply(Open(), *powers, sums)
    with span("mix", "matmul"):
        mixed = executor.one(CausalMix(seen), *powers, v, v.summand)
        mixed = mixed if more is None else executor.add(mixed, more[0])
        return divide(executor, suite, mixed, sums, widths, p)


def _opened(
    executor: Executor,
    scores: Sequence[Share],
    seen: SeenKeys,
    widths: AttentionWidths,
    p: Precision,
    known: tuple[Sequence[int] | None, ColumnWeights | None],
    beside: Sequence[Share],
) -> tuple[Sequence[Share], Sequence[Share]]:
    """Additive scores, masked at both parties; those of padding are out of the way, and columns have their
    weights. What is opened beside them."""
    padding, columns = known
    if widths.weighting.hidden:
        scores = _without_padding(executor, scores, seen, widths, padding)
    if columns is not None:
        assert isinstance(seen, CausalBlocks)
        scores = with_column_weights(executor, scores, seen, columns)
    opened = executor.apply(Open(), *(truncate_locally(executor, x, p.score) for x in scores), *beside)
    return opened[: len(scores)], opened[len(scores) :]


def _without_padding(
    executor: Executor,
    scores: Sequence[Share],
    seen: SeenKeys,
    widths: AttentionWidths,
    padding: Sequence[int] | None,
) -> tuple[Share, ...]:
    """Packed scores, those of padding lower than all others: the client adds to its summands what it alone
    knows."""
    assert isinstance(seen, CausalBlocks)
    if padding is None:
        return tuple(executor.add_at_client(x, None) for x in scores)
    amount = round(widths.weighting.hidden * 2.0 ** scores[0].frac_bits)
    added = torch.where(is_padding(padding, seen.keys), -amount, amount)[:, None]
    rows = [added[..., seen.seen(slice(row, row + 1))] for row in range(seen.queries)]
    return tuple(
        executor.add_at_client(x, torch.cat(rows[block], -1))
        for x, block in zip(scores, seen.blocks, strict=True)
    )


def row_sums(executor: Executor, packed: Sequence[Share], seen: SeenKeys) -> Share:
    """Every row's sum, [..., T, 1]."""
    rows = zip(packed, seen.blocks, strict=True)
    return executor.concat([executor.sum_rows(x, seen.lengths[block]) for x, block in rows], -2)


def _below_maximum(
    executor: Executor,
    maximum: MaximumProtocol,
    scores: Sequence[Share],
    seen: SeenKeys,
    widths: AttentionWidths,
    p: Precision,
    frac: int,
    beside: Sequence[Share],
) -> tuple[Share, list[Share], Sequence[Share]]:
    """Each row's maximum, exact or coarse; it minus the row's scores, as an index of exp of `frac` fraction
    bits; and what is opened beside it: where that is a state's, the maximum is at least 0."""
    fine_formats = [(x, frac, score_index_bits(widths, frac)) for x in scores]
    coarse_formats = [(x, -p.step, score_index_bits(widths, -p.step)) for x in scores]
    narrowed = narrow(executor, *(coarse_formats if maximum.coarse else ()), *fine_formats)
    compared, fine = narrowed[: len(scores)], narrowed[-len(scores) :]
    rows, lengths = executor.concat(compared, -1), seen.lengths
    if beside:
        rows, lengths = with_zero(executor, rows, lengths), tuple(length + 1 for length in lengths)
    peak, *beside = executor.apply(Open(), maximum(executor, rows, lengths), *beside)
    peak = executor.shift_up(peak, frac - peak.frac_bits)
    indices = [
        executor.sub(_by_entry(executor, peak, seen, block), x)
        for x, block in zip(fine, seen.blocks, strict=True)
    ]
    return peak, indices, beside


def _by_entry(executor: Executor, rows: Share, seen: SeenKeys, block: slice) -> Share:
    """A number a row, for every entry of a block's rows."""
    lengths = torch.tensor(seen.lengths[block])
    return executor.map(rows, lambda t: t[..., block].repeat_interleave(lengths, -1))
