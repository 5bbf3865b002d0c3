"""Causal attention, from masked queries, keys and values to an output that the server holds.

What all kinds have in common is here, and softmax; `fss_power_attention` has the others. Softmax:

1. Scores: a product of masked matrices, of which only what is causal is computed; they are opened.
2. The coarse maximum of every row: a histogram opened, a zero test.  3. It is opened.
4. exp(maximum - score): one look-up.  5. It is opened, with each row's sum.
6. Weights times values; opened together with each row's reciprocal; their product goes to the server.

Scores are in blocks of rows that stay in cache; what all blocks open in a step travels in one message.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.wires import exponential_wires, reciprocal, score_index_bits
from protocols.fss.causal import CausalBlocks, CausalMix, CausalProduct
from protocols.fss.kept import Kept
from protocols.fss.linear import Hold
from protocols.fss.machine import Machine
from protocols.fss.opening import Open
from protocols.fss.polynomial import Product
from protocols.fss.rescale import cut, narrow, view
from protocols.fss.suite import FssSuite, MaximumProtocol
from protocols.share import Share


def hold_quotient(machine: Machine, quotient: Share, widths: AttentionWidths, p: Precision) -> Share:
    """Attention's output for the next layer, held by the server; opened and cut first where it is too fine.

    Cost: 1 message to the server; where it is opened, a round more.
    """
    if widths.reopened:
        (opened,) = machine.apply(Open(), cut(machine, quotient, p.mixed))
        quotient = machine.one(Product(widths.out_bits), view(machine, opened, p.mixed))
    return machine.one(Hold(), cut(machine, quotient, widths.held))


def divide(
    machine: Machine, suite: FssSuite, mixed: Share, sums: Share, widths: AttentionWidths, p: Precision
) -> Share:
    """Weights times values over each row's masked sum, held by the server for the next layer.

    Cost: 2 rounds, and as `hold_quotient` says.
    """
    weights = widths.weighting
    inverse = suite.reciprocal(machine, *reciprocal(widths, p, faithful=machine.faithful), sums)
    mixed, inverse = machine.apply(Open(), cut(machine, mixed, weights.mixed), inverse)
    mixed, inverse = view(machine, mixed, weights.mixed), view(machine, inverse, weights.inverse)
    return hold_quotient(machine, machine.one(Product(widths.quotient_bits), mixed, inverse), widths, p)


def softmax_attention(
    machine: Machine,
    suite: FssSuite,
    q: Share,
    k: Kept,
    v: Kept,
    widths: AttentionWidths,
    p: Precision,
) -> Share:
    """softmax(q k^T) v over the keys each query may see, held by the server for the next layer.

    Args:
        q: masked [B, H, T, K], divided by sqrt(K) already.
        k, v: masked [B, H, S, K], kept; the queries are the last T of the S positions.

    Cost: 7 rounds, and one more as `hold_quotient` says.
    """
    seen, span = _blocks(machine, q, k), machine.meter.span
    with span("scores", "matmul"):
        products = machine.apply(CausalProduct(seen), q, k, k.summand)
        scores = machine.apply(Open(), *(cut(machine, product, p.score) for product in products))
    with span("softmax", "softmax"):
        indices = _below_maximum(machine, suite.maximum, scores, seen, widths, p)
        around = exponential_wires(widths, p, coarse=suite.maximum.coarse, faithful=machine.faithful)
        powers = [cut(machine, power, p.power) for power in suite.exponential(machine, around, *indices)]
        sums = machine.reduce(row_sums(machine, powers, seen), widths.sum_bits)
        *powers, sums = machine.apply(Open(), *powers, sums)
    with span("mix", "matmul"):
        mixed = machine.one(CausalMix(seen), *powers, v, v.summand)
        return divide(machine, suite, mixed, sums, widths, p)


def _blocks(machine: Machine, q: Share, k: Share) -> CausalBlocks:
    """Faithful plans truncate by gates, a share and a round each: a single block there."""
    if machine.faithful:
        return CausalBlocks.whole(q.shape[-2], k.shape[-2])
    return CausalBlocks.of(q.shape[-2], k.shape[-2], q.shape[-3])


def row_sums(machine: Machine, packed: Sequence[Share], seen: CausalBlocks) -> Share:
    """Every row's sum, [..., T, 1]."""
    rows = zip(packed, seen.blocks, strict=True)
    return machine.concat([machine.sum_rows(x, seen.lengths[block]) for x, block in rows], -2)


def _below_maximum(
    machine: Machine,
    maximum: MaximumProtocol,
    scores: Sequence[Share],
    seen: CausalBlocks,
    widths: AttentionWidths,
    p: Precision,
) -> list[Share]:
    """Each row's maximum, exact or coarse, minus its scores, as an index of exp."""
    fine_wires = [(x, p.score, score_index_bits(widths, p.score)) for x in scores]
    coarse_wires = [(x, -p.step, score_index_bits(widths, -p.step)) for x in scores]
    narrowed = narrow(machine, *(coarse_wires if maximum.coarse else ()), *fine_wires)
    compared, fine = narrowed[: len(scores)], narrowed[-len(scores) :]
    (peak,) = machine.apply(Open(), maximum(machine, machine.concat(compared, -1), seen.lengths))
    peak = machine.shift_up(peak, p.score - peak.frac_bits)
    return [
        machine.sub(_by_entry(machine, peak, seen, block), x)
        for x, block in zip(fine, seen.blocks, strict=True)
    ]


def _by_entry(machine: Machine, rows: Share, seen: CausalBlocks, block: slice) -> Share:
    """A number a row, for every entry of a block's rows."""
    lengths = torch.tensor(seen.lengths[block])
    return machine.map(rows, lambda t: t[..., block].repeat_interleave(lengths, -1))
