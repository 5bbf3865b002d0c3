"""How far a layer's attention is off where one of its heads sees fewer keys: measured on public text.

What is measured is the output, not the weight that is missed: of query rows at positions up to n, the
difference that one head's smaller set of keys makes in what attention adds to the residual, over all that
attention adds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import final

import torch

from mpcinfer.backends.attention_weights import capped, visible_weights
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import AttentionForm
from protocols.key_pattern import keys_within

ROWS = 16
"""Queries that are looked at for each length: the last of them."""
_STEP = 1.2
"""Ratio of budgets that are tried one after the other."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of pattern, whose budget is open: the other fields of `KeyPattern`."""

    sinks: int
    strided: float


KINDS = (Kind(4, 0.0), Kind(4, 0.25), Kind(4, 0.5))
"""Those that are tried: sinks and a window, and a quarter or half of the rest spread between."""


@lru_cache
def budgets(length: int) -> tuple[int, ...]:
    """The budgets that are tried for rows of a length, least first; the last is all keys."""
    found, at = list[int](), 1.0
    while (budget := math.ceil(at)) < length:
        found += [] if found and found[-1] == budget else [budget]
        at *= _STEP
    return (*found, length)


@dataclass(eq=False)
class HeadErrors:
    """Sums over texts of squared differences, by layer and length.

    Attributes:
        off: [budgets, H] for every layer, length and kind.
        without: [H], where a head gives nothing.
        whole: of all that the layer's attention adds.
    """

    off: dict[tuple[int, int, Kind], torch.Tensor] = field(
        default_factory=dict[tuple[int, int, Kind], torch.Tensor]
    )
    without: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict[tuple[int, int], torch.Tensor])
    whole: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])

    def add(
        self, layer: int, length: int, off: Mapping[Kind, torch.Tensor], without: torch.Tensor, whole: float
    ) -> None:
        """Another text's."""
        for kind, squares in off.items():
            key = (layer, length, kind)
            self.off[key] = self.off[key] + squares if key in self.off else squares
        at = (layer, length)
        self.without[at] = self.without[at] + without if at in self.without else without
        self.whole[at] = self.whole.get(at, 0.0) + whole

    def relative(self, layer: int, length: int, kind: Kind) -> torch.Tensor:
        """[budgets, H]: differences over all that the layer's attention adds."""
        return (self.off[layer, length, kind] / self.whole[layer, length]).sqrt()

    def relative_without(self, layer: int, length: int) -> torch.Tensor:
        """[H]: likewise of heads that give nothing."""
        return (self.without[layer, length] / self.whole[layer, length]).sqrt()


@final
class MeasuringBackend(PlainBackend):
    """Runs a decoder as it is, and measures what every head's attention would be with fewer keys.

    Args:
        weights: of the model, for the matrices after attention.
        lengths: of rows.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], lengths: Sequence[int]) -> None:
        self.errors = HeadErrors()
        self._weights, self._lengths = weights, lengths

    def attention(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        start: int,
        form: AttentionForm,
        offset: torch.Tensor | None = None,
        epsilon: torch.Tensor | None = None,
        *,
        state: AttentionState[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        layer = self.site.layer
        assert layer is not None
        heads, tokens = q.shape[-3:-1]
        matrix = self._weights[f"layer{layer}.attn.out.weight"]
        after = matrix.reshape(heads, -1, matrix.shape[-1])
        for length in self._lengths:
            if start == 0 and length <= tokens:
                rows = slice(max(length - ROWS, 0), length)
                scores = q[0, :, rows] @ k[0, :, :length].transpose(-1, -2)
                scores = capped(self.add_offset(scores, offset, form.shift), form.cap)
                self._measure(layer, length, scores, v[0, :, :length], after, form, epsilon)
        return super().attention(q, k, v, start, form, offset, epsilon, state=state)

    def _measure(
        self,
        layer: int,
        length: int,
        scores: torch.Tensor,
        v: torch.Tensor,
        after: torch.Tensor,
        form: AttentionForm,
        epsilon: torch.Tensor | None,
    ) -> None:
        """Scores [H, R, n] of the last rows, values [H, n, K], and a matrix [H, K, D] after every head."""
        rows = scores.shape[-2]

        def output(budget: int, kind: Kind) -> torch.Tensor:
            visible = _visible(length, rows, budget, kind)
            return visible_weights(scores, visible, form, epsilon) @ v @ after

        exact, off = output(length, KINDS[0]), dict[Kind, torch.Tensor]()
        for kind in KINDS:
            tried = [(output(each, kind) - exact).square().sum((-1, -2)) for each in budgets(length)]
            off[kind] = torch.stack(tried)
        without, whole = exact.square().sum((-1, -2)), float(exact.sum(0).square().sum())
        self.errors.add(layer, length, off, without, whole)


@lru_cache(maxsize=1024)
def _visible(length: int, rows: int, budget: int, kind: Kind) -> torch.Tensor:
    """What the last `rows` of queries see with a budget: bool [rows, length]."""
    visible = torch.zeros(rows, length, dtype=torch.bool)
    for row in range(rows):
        seen = length - rows + row + 1
        visible[row, keys_within(seen, min(budget, seen), kind.sinks, kind.strided)] = True
    return visible
