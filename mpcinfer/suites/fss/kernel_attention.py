"""Causal attention by a Gaussian kernel: exp(-|q - k|^2 / 2) v, without a maximum, a sum or a reciprocal.

1. Queries and keys are published; their half squares are opened, and become columns of both: what is kept of
   a key is [k, -|k|^2 / 2, 1].
2. Scores: one product of masked matrices; opened with their sign turned.
3. exp: one look-up; opened.
4. Weights times values; opened, and to the server.
"""

from __future__ import annotations

import torch

from mpcinfer.models.kinds import AttentionForm
from mpcinfer.suites.fss.attention import quotient_to_server
from mpcinfer.suites.fss.attention_inputs import published_inputs
from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.formats import kernel_formats, score_index_bits
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.seen_keys import seen_keys
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import CachedShare, to_cached
from protocols.fss.gates.causal import CausalMix, CausalProduct
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product, SumOfSquares
from protocols.fss.operations.rescale import narrow, nearest, truncate_locally, view
from protocols.fss.operations.suite import FssSuite
from protocols.share import Share


def publish_kernel_inputs(
    executor: Executor, widths: AttentionWidths, p: Precision, q: Share, k: Share, v: Share
) -> tuple[Share, Share, Share]:
    """Queries and keys with the columns of `Backend.kernel_inputs`, published; keys and values kept.

    Cost: as `publish_inputs`, and a round of one number a query and one a key of every head.
    """
    q, k, v = published_inputs(executor, widths, p, q, k, v)
    with executor.meter.span("squares", "matmul"):
        squared = [_half_square(executor, x) for x in (q, k)]
        frac_bits = [x.frac_bits for x in (q, k)]
        cut = [truncate_locally(executor, x, bits) for x, bits in zip(squared, frac_bits, strict=True)]
        opened = executor.apply(Open(), *cut)
        targets = [(x, bits, widths.score_bits) for x, bits in zip(opened, frac_bits, strict=True)]
        halves = nearest(executor, *targets)
    ones = [_one(executor, x) for x in halves]
    q = executor.concat([q, ones[0], halves[0]], -1)
    k = executor.concat([k, halves[1], ones[1]], -1)
    with executor.meter.span("kept", "matmul"):
        return q, to_cached(executor, k), to_cached(executor, v)


def kernel_attention(
    executor: Executor,
    suite: FssSuite,
    q: Share,
    k: CachedShare,
    v: CachedShare,
    widths: AttentionWidths,
    p: Precision,
    form: AttentionForm,
) -> Share:
    """exp of q k^T times v, held by the server for the next layer.

    Args:
        q: masked [B, H, T, K + 2]; k, v: masked [B, H, S, K + 2] and [B, H, S, K], kept; with patterns as of
            `softmax_attention`.

    Cost: 5 rounds with the message to the server, and one more as `quotient_to_server` says.
    """
    seen, span = seen_keys(q, k, form), executor.meter.span
    with span("scores", "matmul"):
        distances = executor.mul_integer(executor.one(CausalProduct(seen), q, k, k.summand), -1)
        (distances,) = executor.apply(Open(), truncate_locally(executor, distances, p.score))
    with span("gaussian", "gaussian"):
        frac = suite.exponential.index_frac(p.score, score_index_bits(widths, 0))
        (index,) = narrow(executor, (distances, frac, score_index_bits(widths, frac)))
        formats = kernel_formats(widths, p, index_frac=frac, exact_truncation=executor.exact_truncation)
        (weights,) = suite.exponential(executor, formats, index)
        (weights,) = executor.apply(Open(), truncate_locally(executor, weights, p.power))
    with span("mix", "matmul"):
        mixed = executor.one(CausalMix(seen), weights, v, v.summand)
        (mixed,) = executor.apply(Open(), truncate_locally(executor, mixed, p.mixed))
        quotient = executor.one(Product(widths.quotient_bits), view(executor, mixed, p.mixed))
        return quotient_to_server(executor, quotient, widths, p)


def _half_square(executor: Executor, x: Share) -> Share:
    """-|x|^2 / 2 of every row, additive, in a ring that what is left of it fills."""
    ring_bits = min(x.ring_bits + x.frac_bits + 1, 64)
    squares = executor.one(SumOfSquares(ring_bits), executor.view(x))
    return executor.scaled(executor.mul_integer(squares, -1), -1)


def _one(executor: Executor, x: Share) -> Share:
    """1 in the form of x, under a mask that is 0."""
    return executor.add_public(executor.map(x, torch.zeros_like), 1 << x.frac_bits)
