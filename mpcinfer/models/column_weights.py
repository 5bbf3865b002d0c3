"""What the client adds to the attention scores of each key's column: logarithms of prompt weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True, slots=True, eq=False)
class ColumnWeights:
    """log w of every column, in every layer; secret of the client.

    Attributes:
        logs: [B, n] in float64, of the first n columns; all columns after them have 0. B is 1, or that of
            the batch; in the clear it may be any number, for as many runs of the same tokens.
    """

    logs: torch.Tensor

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[float]], padding: Sequence[int] | None = None) -> ColumnWeights:
        """Of sequences of any lengths; padding weighs what the lightest column of its sequence weighs.

        Args:
            rows: logarithms of each sequence's columns, padding left out.
            padding: columns at the start of each sequence that are none of a text.
        """
        before = padding or [0] * len(rows)
        padded = [[min([0.0, *row])] * first + list(row) for row, first in zip(rows, before, strict=True)]
        longest = max(map(len, padded))
        logs = [row + [0.0] * (longest - len(row)) for row in padded]
        return cls(torch.tensor(logs, dtype=torch.float64).reshape(len(rows), longest))

    def after(self, padding: int) -> ColumnWeights:
        """The same of sequences with so many columns of padding before them, weighing as in `of_rows`."""
        lightest = self._ends()[1][:, None].expand(-1, padding)
        return ColumnWeights(torch.cat([lightest, self.logs], -1))

    @property
    def depth(self) -> float:
        """How far the lightest column is below the heaviest, in nats, where they are furthest apart."""
        high, low = self._ends()
        return float((high - low).max())

    def columns(self, count: int) -> torch.Tensor:
        """log w of the first `count` columns, [B, count]."""
        known = self.logs[:, :count]
        return functional.pad(known, (0, count - known.shape[-1]))

    def centred(self, count: int) -> torch.Tensor:
        """The same less halfway between each sequence's lightest and heaviest column: softmax is what it was,
        and what is added is as small as can be."""
        high, low = self._ends()
        return self.columns(count) - (high + low)[:, None] / 2

    def _ends(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each sequence, [B]; columns with 0 come after those that are known."""
        return self.logs.amax(-1).clamp_min(0.0), self.logs.amin(-1).clamp_max(0.0)


def same_columns(first: ColumnWeights | None, second: ColumnWeights | None) -> bool:
    """Whether all columns weigh the same in both; None weighs 1 everywhere."""
    known = [each for each in (first, second) if each is not None]
    if not known:
        return True
    count = max(each.logs.shape[-1] for each in known)
    rows = [torch.zeros(1, count) if each is None else each.columns(count) for each in (first, second)]
    return bool((rows[0] == rows[1]).all())
