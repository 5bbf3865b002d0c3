"""Attention by a Gaussian kernel on shares: exp of products that are -|q - k|^2 / 2 already."""

from __future__ import annotations

import torch

from parties.errors import RangeError
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.operation import UnaryProtocol
from protocols.arithmetic.pattern_rows import Rows
from protocols.share import Share


def with_half_squares(executor: Arithmetic, q: Share, k: Share) -> tuple[Share, Share]:
    """[q, 1, -|q|^2 / 2] and [k, -|k|^2 / 2, 1], [.., T, K + 2]. Cost: a square an element."""
    halves = [executor.neg(executor.shift_down(executor.sum(executor.square(x), -1), 1)) for x in (q, k)]
    ones = [executor.add_public(executor.rearrange(half, torch.zeros_like), 1.0) for half in halves]
    return executor.concat([q, ones[0], halves[0]], -1), executor.concat([k, halves[1], ones[1]], -1)


def kernel_weights(
    executor: Arithmetic, exponential: UnaryProtocol, scores: Share, rows: Rows, farthest: float
) -> Share:
    """exp(s) of scores [B, H, T, S] over the keys that a query may see, zero elsewhere.

    Args:
        rows: which those are.
        exponential: the plan's, of numbers that are not positive.
        farthest: bound on scores, margin included.

    Raises:
        RangeError: the protocol holds no scores so low.

    Cost: the exponential of every score that can be seen: no maximum, no sum, no reciprocal.
    """
    if farthest > -exponential.domain[0]:
        raise RangeError(
            f"{executor.meter.label}: scores down to {-farthest:.4g}, the plan's exponential holds "
            f"{exponential.domain[0]:.4g}: train with smaller ones (--range-scores), or take --plan fss"
        )
    return rows.unpack(executor, exponential(executor, rows.pack(executor, scores)))
