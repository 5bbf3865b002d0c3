"""The exact check: which tokens' embeddings are in the column space of a gradient.

The gradient by a matrix that multiplies rows X [N, D] is X^T times something, so its columns are sums of the
rows: with at most D of them, linearly independent, a token's embedding is in that space exactly if it is one
of the text's. DAGER (arXiv 2405.15586) uses the same fact.
"""

from __future__ import annotations

import torch

from mpcinfer.audit.algebra import left_vectors, length


def tokens_in_span(gradient: torch.Tensor, table: torch.Tensor, count: int) -> list[int]:
    """The tokens that fit the gradient's column space best.

    Args:
        gradient: by V [D, D], noise included.
        table: embeddings [V, D].
        count: how many distinct tokens the text has, at most D - 1.

    Returns:
        So many token ids, in order of their distance from the space of the `count` largest singular vectors.
    """
    space = left_vectors(gradient, count)
    unit = table / length(table)[:, None]
    outside = length(unit - unit @ space @ space.T)
    return [int(token) for token in outside.argsort()[:count]]


def set_recovery(found: list[int], ids: list[int]) -> float:
    """The share of a text's distinct tokens that were named."""
    return len(set(found) & set(ids)) / len(set(ids))
