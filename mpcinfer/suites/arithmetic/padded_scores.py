"""Scores of padded sequences: padding gets no weight, and nobody but the client learns where it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mpcinfer.models.batch import advice
from mpcinfer.models.padding import is_padding
from parties.errors import RangeError
from parties.meter import CLIENT
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.share import Share

HIDDEN = 32.0
"""How far below its row's largest score padding is: the exponentials are below half a last place there."""


def without_padding(
    executor: Arithmetic,
    scores: Share,
    padding: Sequence[int] | None,
    key: str,
    spread: float,
    max_spread: float,
) -> Share:
    """Scores [B, H, T, S], those of padding so much lower that they get no weight: the client adds to its
    shares what it alone knows. Sends nothing.

    Args:
        padding: tokens at the start of each sequence, at the client.
        key: of the range, for errors.
        spread: how far scores of a row lie apart.
        max_spread: the most that the plan's softmax holds.

    Raises:
        RangeError: the softmax does not hold scores so far apart.
    """
    sequences, keys = scores.shape[0], scores.shape[-1]
    apart = HIDDEN + spread  # padding may be as far above a row's largest as others are below
    if spread + apart > max_spread:
        raise RangeError(
            f"{key}: padding would be up to {spread + apart:.4g} below the largest score, the plan's "
            f"softmax holds {max_spread:.4g}; {advice(sequences)}"
        )
    added = None
    if padding is not None:
        hidden = is_padding(padding, keys)
        added = torch.where(hidden, -apart / 2, apart / 2)[:, None, None, :]
    own = executor.share_from(CLIENT, added, (sequences, 1, 1, keys))
    return executor.add(scores, own)
