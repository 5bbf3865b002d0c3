"""Batches whose padding is hidden wrongly in one way each; what tests say of batches must reject them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from unittest.mock import patch

import torch

from mpcinfer.models.padding import is_padding
from mpcinfer.suites.arithmetic import padded_scores
from mpcinfer.suites.fss import attention, pooling
from mpcinfer.suites.fss.attention_widths import AttentionWidths
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.causal import CausalBlocks
from protocols.share import Share

Mask = Callable[[Sequence[int], int], torch.Tensor]


def _without_the_shortest(padding: Sequence[int], count: int) -> torch.Tensor:
    most = max(padding)
    return is_padding([0 if before == most else before for before in padding], count)


def _without_the_last_key(padding: Sequence[int], count: int) -> torch.Tensor:
    return is_padding([max(before - 1, 0) for before in padding], count)


def _nothing(padding: Sequence[int], count: int) -> torch.Tensor:
    return is_padding([0] * len(padding), count)


@contextmanager
def _hiding(mask: Mask, *places: object) -> Generator[None]:
    """What the client takes for padding, in modules that ask."""
    with ExitStack() as stack:
        for place in places:
            stack.enter_context(patch.object(place, "is_padding", mask))
        yield


def _from_the_first_key(
    executor: Executor,
    scores: Sequence[Share],
    seen: CausalBlocks,
    widths: AttentionWidths,
    padding: Sequence[int] | None,
) -> tuple[Share, ...]:
    """Rows of a window hide as many keys from the first on, and not those that the window shows."""
    if padding is None:
        return tuple(executor.add_at_client(x, None) for x in scores)
    amount = round(widths.weighting.hidden * 2.0 ** scores[0].frac_bits)
    added = torch.where(is_padding(padding, seen.keys), -amount, amount)[:, None]
    rows = [added[..., :length] for length in seen.lengths]
    return tuple(
        executor.add_at_client(x, torch.cat(rows[block], -1))
        for x, block in zip(scores, seen.blocks, strict=True)
    )


Broken = Callable[[], AbstractContextManager[object]]
BATCHES: dict[str, Broken] = {
    "one sequence is not masked": partial(_hiding, _without_the_shortest, attention, padded_scores),
    "one key is not masked": partial(_hiding, _without_the_last_key, attention, padded_scores),
}
"""For any model."""
WINDOWS: dict[str, Broken] = {
    "the window's mask is that of the first keys": partial(
        patch.object, attention, "_without_padding", _from_the_first_key
    ),
}
"""For sliding windows under `fss`."""
MEANS: dict[str, Broken] = {
    "padding is part of the mean": partial(_hiding, _nothing, pooling),
    "one text's padding is part of the mean": partial(_hiding, _without_the_shortest, pooling),
}
"""For means of rows under `fss`."""
