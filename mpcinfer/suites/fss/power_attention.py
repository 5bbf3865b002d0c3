"""Causal attention without exp: powers of scores over their mean plus epsilon, or ReLU over the row's length.

1. Scores plus offset and shift, additive; opened.
2. Their powers, or ReLU; opened, for powers with each row's sum plus epsilon L.
3. Weights times values; for powers opened together with each row's reciprocal. Their product, or for ReLU the
   product with the public 1 / L, goes to the server.

No maximum is found and no exp taken. Rows of L keys are multiplied by the public 2^(row_bits - ceil(log2 L))
before they are opened: all that comes after then has the range of a mean.
"""

from __future__ import annotations

import torch

from mpcinfer.models.config import AttentionForm
from mpcinfer.suites.fss.attention import divide, quotient_to_server, row_sums
from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.formats import power_formats, relu_formats
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.seen_keys import by_entry, by_row, of_heads_by_row, seen_keys
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import CachedShare
from protocols.fss.gates.causal import CausalMix, CausalProduct, SeenKeys
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.operations.rescale import in_scale, narrow, nearest, truncate_locally, view
from protocols.fss.operations.suite import FssSuite
from protocols.fss.preprocessing.matrix import Matrix
from protocols.share import Share


def power_attention(
    executor: Executor,
    suite: FssSuite,
    q: Share,
    k: CachedShare,
    v: CachedShare,
    widths: AttentionWidths,
    p: Precision,
    form: AttentionForm,
    offset: Matrix | None,
    epsilon: Matrix | None,
) -> Share:
    """s^power / (mean s^power + epsilon) / L of scores s, times v, held by the server for the next layer.

    Args:
        q: masked [B, H, T, K], divided by sqrt(K) already.
        k, v: masked [B, H, S, K], kept; the queries are the last T of the S positions. Where the form has
            patterns, heads are in the axis of positions (`in_one_axis`), and in the result's.
        offset: [H], the server's, with the fraction bits of scores.
        epsilon: [H], the server's, in place of the form's.

    Cost: at most 4 rounds for power 2, 5 for power 4, 6 for others, and one more as `quotient_to_server`
        says.
    """
    seen, weights, span = seen_keys(q, k, form), widths.weighting, executor.meter.span
    with span("scores", "matmul"):
        formats = power_formats(widths, p, form.power)
        scores = _open_scores(executor, q, k, seen, form.shift, offset, formats.read_frac)
    with span("power", "power"):
        powers = suite.power(executor, formats, scores)
        sums = row_sums(executor, [powers], seen)
        sums = executor.add_public(executor.reduce(sums, widths.sum_bits), _added(sums, seen, form, epsilon))
        sums = _as_means(executor, sums, seen, weights.row_bits)
        powers, sums = executor.apply(Open(), powers, sums)
    with span("mix", "matmul"):
        mixed = executor.one(CausalMix(seen), powers, v, v.summand)
        return divide(executor, suite, _as_means(executor, mixed, seen, weights.row_bits), sums, widths, p)


def relu_attention(
    executor: Executor,
    suite: FssSuite,
    q: Share,
    k: CachedShare,
    v: CachedShare,
    widths: AttentionWidths,
    p: Precision,
    form: AttentionForm,
    offset: Matrix | None,
) -> Share:
    """max(s, 0) / L of scores s, times v, held by the server for the next layer. Arguments as above.

    Cost: at most 5 rounds, and one more as `quotient_to_server` says.
    """
    seen, weights, span = seen_keys(q, k, form), widths.weighting, executor.meter.span
    with span("scores", "matmul"):
        scores = _open_scores(executor, q, k, seen, form.shift, offset, weights.frac)
    with span("relu", "relu"):
        protocol = suite.activations["relu"]
        around = relu_formats(protocol, widths, p, exact_truncation=executor.exact_truncation)
        drop = scores.frac_bits - weights.frac
        (scores,) = nearest(executor, (scores, weights.frac, scores.ring_bits - drop))
        (index,) = (
            narrow(executor, (scores, around.index_frac, around.index_bits))
            if protocol.indexed
            else (scores,)
        )
        positive = protocol(executor, "relu", around, scores, index)
        positive = in_scale(executor, positive, weights.frac, around.ring_bits)
        (positive,) = executor.apply(Open(), truncate_locally(executor, positive, weights.frac))
    with span("mix", "matmul"):
        mixed = executor.one(CausalMix(seen), positive, v, v.summand)
        mixed = truncate_locally(executor, _as_means(executor, mixed, seen, weights.row_bits), weights.mixed)
        (mixed,) = executor.apply(Open(), mixed)
        quotient = executor.one(Product(widths.quotient_bits), view(executor, mixed, weights.mixed))
        shares = by_row(seen, lambda length: round(2.0 ** (_bits(length) + weights.inverse) / length))
        quotient = executor.mul_integer(quotient, shares, weights.inverse)
        return quotient_to_server(executor, quotient, widths, p)


def _open_scores(
    executor: Executor,
    q: Share,
    k: CachedShare,
    seen: SeenKeys,
    shift: float,
    offset: Matrix | None,
    frac_bits: int,
) -> Share:
    """q k^T plus offsets and shift, where it can be seen, masked; with the fraction bits that are read."""
    scores = executor.one(CausalProduct(seen), q, k, k.summand)
    if shift:
        scores = executor.add_public(scores, round(shift * 2.0**scores.frac_bits))
    if offset is not None:
        assert offset.frac_bits == scores.frac_bits
        scores = executor.add_public(scores, by_entry(seen, offset.value))  # at the server alone
    (scores,) = executor.apply(Open(), truncate_locally(executor, scores, frac_bits))
    return scores


def _added(sums: Share, seen: SeenKeys, form: AttentionForm, epsilon: Matrix | None) -> torch.Tensor:
    """epsilon L for every row, at the scale of the sums: [T, 1], or [H, T, 1] at the server alone; [H T, 1]
    of patterns."""
    if epsilon is None:
        return by_row(seen, lambda length: round(form.epsilon * length * 2.0**sums.frac_bits))
    rows = of_heads_by_row(seen, epsilon.value).to(torch.int64)
    if rows.is_meta:
        return rows
    scaled = rows.double() * by_row(seen, lambda length: length).double()
    return (scaled * 2.0 ** (sums.frac_bits - epsilon.frac_bits)).round().to(torch.int64)


def _as_means(executor: Executor, x: Share, seen: SeenKeys, row_bits: int) -> Share:
    """Rows [.., T, .] over 2^ceil(log2 L), exactly: times what is left to 2^row_bits, and the point moves."""
    factors = by_row(seen, lambda length: 1 << (row_bits - _bits(length)))
    return executor.scaled(executor.mul_integer(x, factors), -row_bits)


def _bits(length: int) -> int:
    """ceil(log2 L)."""
    return (length - 1).bit_length()
