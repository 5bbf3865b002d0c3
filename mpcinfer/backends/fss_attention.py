"""Causal softmax attention: six openings from masked queries, keys and values to a server-held output.

1. Scores: a product of masked matrices; their causal part is opened.
2. The coarse maximum of every row: a histogram opened, a zero test.  3. It is opened.
4. exp(maximum - score): one look-up.  5. It is opened, with each row's sum.
6. Weights times values; opened together with each row's reciprocal; their product goes to the server.
"""

from __future__ import annotations

import torch

from mpcinfer.backends.fss_rescale import narrow, view
from mpcinfer.backends.fss_wires import exponential_wires, reciprocal, score_index_bits
from mpcinfer.models.widths import AttentionWidths, Precision
from protocols.fss.linear import Hold
from protocols.fss.machine import Machine
from protocols.fss.matmul import MatMul
from protocols.fss.opening import Open
from protocols.fss.polynomial import Product
from protocols.fss.suite import FssSuite, MaximumProtocol
from protocols.share import Share


def attention(
    machine: Machine,
    suite: FssSuite,
    q: Share,
    k: Share,
    v: Share,
    start: int,
    widths: AttentionWidths,
    p: Precision,
) -> Share:
    """softmax(q k^T) v over the keys each query may see, held by the server for the next layer.

    Args:
        q: masked [B, H, T, K], divided by sqrt(K) already.
        k, v: masked [B, H, S, K].
        start: position of the first query.

    Cost: 7 rounds.
    """
    queries, keys = q.shape[-2], k.shape[-2]
    rows, visible = causal(queries, keys, start)
    span = machine.meter.span
    with span("scores", "matmul"):
        scores = machine.one(MatMul(), q, machine.map(k, lambda t: t.transpose(-1, -2)))
        packed = machine.map(scores, lambda t: t.flatten(-2)[..., visible])
        (scores,) = machine.apply(Open(), packed)
    with span("softmax", "softmax"):
        index = _below_maximum(machine, suite.maximum, scores, start, rows, widths, p)
        around = exponential_wires(widths, p, coarse=suite.maximum.coarse, faithful=machine.faithful)
        powers = suite.exponential(machine, around, index)

        def unpack(t: torch.Tensor) -> torch.Tensor:
            full = t.new_zeros((*t.shape[:-1], queries * keys))
            full[..., visible] = t
            return full.reshape(*t.shape[:-1], queries, keys)

        sums = machine.reduce(machine.sum_last(machine.map(powers, unpack)), widths.sum_bits)
        powers, sums = machine.apply(Open(), powers, sums)
    with span("mix", "matmul"):
        mixed = machine.one(MatMul(), machine.map(powers, unpack), v)
        inverse = suite.reciprocal(machine, *reciprocal(widths, p, faithful=machine.faithful), sums)
        mixed, inverse = machine.apply(Open(), mixed, inverse)
        mixed = view(machine, mixed, p.mixed)
        return machine.one(Hold(), machine.one(Product(widths.out_bits), mixed, inverse))


def _below_maximum(
    machine: Machine,
    maximum: MaximumProtocol,
    scores: Share,
    start: int,
    rows: torch.Tensor,
    widths: AttentionWidths,
    p: Precision,
) -> Share:
    """Each row's maximum, exact or coarse, minus its scores, as an index of exp."""
    fine_wire = (scores, p.score, score_index_bits(widths, p.score))
    coarse_wire = (scores, -p.step, score_index_bits(widths, -p.step))
    narrowed = narrow(machine, *([coarse_wire, fine_wire] if maximum.coarse else [fine_wire]))
    compared, fine = narrowed[0], narrowed[-1]
    queries = int(rows[-1]) + 1
    lengths = tuple(start + i + 1 for i in range(queries))
    (peak,) = machine.apply(Open(), maximum(machine, compared, lengths))
    peak = machine.shift_up(peak, p.score - peak.frac_bits)
    return machine.sub(machine.map(peak, lambda t: t[..., rows]), fine)


def causal(queries: int, keys: int, start: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and flat positions [.] of the entries of [T, S] that causal attention sees, row by row."""
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(start)
    rows = mask.nonzero()[:, 0]
    return rows, mask.flatten().nonzero()[:, 0]
