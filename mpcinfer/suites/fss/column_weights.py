"""Prompt weights in softmax's scores: the client adds their logarithms to its own summands.

Rings are as wide with weights as without, so that the server learns nothing. What weights may take up is what
rounding rings up to whole bits has left, and a part of the scores' margin: with weights as far apart as
fits, scores still hold `WEIGHTED_MARGIN` times what calibration saw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mpcinfer.models.bounds import SCORE_MARGIN
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.widths import Widths
from parties.errors import RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.causal import CausalBlocks
from protocols.share import Share

WEIGHTED_MARGIN = 1.25
"""How much larger than in calibration scores may be, where weights are as far apart as fits; otherwise
`SCORE_MARGIN`."""


def with_column_weights(
    executor: Executor, scores: Sequence[Share], seen: CausalBlocks, columns: ColumnWeights
) -> tuple[Share, ...]:
    """Packed scores [B, H, n] plus each column's log w. Runs at the client and in the clear alone: the
    server's summands stay what they are. Sends nothing."""
    unit = 2.0 ** scores[0].frac_bits
    added = (columns.centred(seen.keys) * unit).round().to(torch.int64)[:, None]
    rows = [added[..., seen.seen(slice(row, row + 1))] for row in range(seen.queries)]
    return tuple(
        executor.add_at_client(x, torch.cat(rows[block], -1))
        for x, block in zip(scores, seen.blocks, strict=True)
    )


def require_room(widths: Widths, columns: ColumnWeights) -> None:
    """Whether every layer's rings hold scores with these weights.

    Raises:
        RangeError: one does not; the message says which weights would fit.
    """
    rooms = {layer: room(widths, widths.attention(layer)) for layer in range(widths.config.layers)}
    layer = min(rooms, key=lambda each: rooms[each])
    if columns.depth > rooms[layer]:
        raise RangeError(
            f"layer{layer}.attn: prompt weights are {columns.depth:.4g} nats apart, the rings of its scores "
            f"have room for {rooms[layer]:.4g}; let the least weight be {math.exp(-rooms[layer]):.2g} of the "
            "largest or more (least)"
        )


def room(widths: Widths, attention: AttentionWidths) -> float:
    """How many nats the logarithms of weights may be apart in a layer, 0 or more.

    They are added centred: half of that above and below scores, which with the slack of coarse maxima are to
    stay within the ring.
    """
    weighting, cap = attention.weighting, widths.config.score_cap
    scores = weighting.scores - weighting.hidden
    if not cap or scores < cap:
        scores *= WEIGHTED_MARGIN / SCORE_MARGIN
    slack = 2.0 ** (widths.precision.step + 1)
    return max(2 * (2.0**attention.score_integer - slack - scores - weighting.hidden), 0.0)
