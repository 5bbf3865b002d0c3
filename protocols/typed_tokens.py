"""Tokens of more than one type, such as those of the first and of the second of two texts.

An id i + V t is token i, below V, of type t. A table for them has V + types - 1 rows: those of the tokens,
and from type 1 on what a type adds to them. So a type costs one more row, and one more entry of a one-hot
row, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def with_types(ids: Sequence[int], types: Sequence[int], vocabulary: int) -> list[int]:
    """Ids of tokens, each of its type."""
    return [token + vocabulary * kind for token, kind in zip(ids, types, strict=True)]


def one_hot_rows(ids: torch.Tensor, vocabulary: int, types: int) -> torch.Tensor:
    """Ids [n] as rows [n, V + types - 1] of zeros and ones, int64; times a table they are `rows_of`."""
    rows = torch.zeros(len(ids), vocabulary + types - 1, dtype=torch.int64)
    at = torch.arange(len(ids))
    rows[at, ids % vocabulary] = 1
    typed = ids >= vocabulary
    rows[at[typed], vocabulary - 1 + ids[typed] // vocabulary] = 1
    return rows


def rows_of(ids: torch.Tensor, table: torch.Tensor, types: int) -> torch.Tensor:
    """Rows [..., D] of a table [V + types - 1, D] at ids [...]."""
    if types == 1:
        return table[ids]
    vocabulary = len(table) - types + 1
    added = torch.cat([torch.zeros_like(table[:1]), table[vocabulary:]])
    return table[ids % vocabulary] + added[ids // vocabulary]
