"""Prompt weights in softmax's scores, on additive shares: the client adds their logarithms to its own."""

from __future__ import annotations

from collections.abc import Mapping

from mpcinfer.models.bounds import SCORE_MARGIN, Seen
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.suites.arithmetic.padded_scores import HIDDEN
from parties.errors import RangeError
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.share import Share

_SPREAD = ".softmax/spread"


def with_column_weights(executor: Arithmetic, scores: Share, columns: ColumnWeights) -> Share:
    """Scores [B, H, T, S] plus each column's log w. Runs at the client alone: the server's share stays what
    it is. Sends nothing, and draws nothing from streams that both parties have."""
    added = columns.centred(scores.shape[-1])[:, None, None]
    return Share(scores.value + executor.encode(added, scores.frac_bits), scores.frac_bits)


def require_room(
    ranges: Mapping[str, float], max_spread: float, columns: ColumnWeights, *, padded: bool
) -> None:
    """Whether the plan's softmax holds scores so far apart in every layer.

    Args:
        ranges: of calibration.
        max_spread: how far below its row's largest a score may be.
        padded: there may be padding, which is further below.

    Raises:
        RangeError: it does not.
    """
    seen = Seen(ranges)
    for key in ranges:
        if not key.endswith(_SPREAD):
            continue
        spread = seen.largest(key, 0.0, SCORE_MARGIN)
        below = (2 * spread + HIDDEN if padded else spread) + columns.depth
        if below > max_spread:
            raise RangeError(
                f"{key}: with prompt weights {columns.depth:.4g} nats apart scores would be up to {below:.4g}"
                f" below the largest, the plan's softmax holds {max_spread:.4g}; let the least weight be a "
                "larger part of the largest (least)"
            )
