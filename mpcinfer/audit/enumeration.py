"""Finding a prompt by trying every token of the vocabulary, position by position.

In a causal model row i of any tensor depends on the first i + 1 tokens alone. Whoever knows the weights tries
all V tokens in place i after those already found, and keeps those whose rows come nearest: V N tries, not
V^N. The idea is that of SipIt (arXiv 2510.15511) and of Hidden No More (arXiv 2505.18332).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Rows = Callable[[torch.Tensor], torch.Tensor]
"""Of prompts [C, T] of token ids the last rows of the tensor, [C, M]; M may grow with T."""


def enumerate_tokens(
    rows: Rows, seen: Sequence[torch.Tensor], vocabulary: int, known: Sequence[int] = (), beam: int = 1
) -> list[int]:
    """The tokens that explain a revealed tensor best, found from the first to the last.

    Args:
        rows: what the attacker computes.
        seen: row i of the tensor as it was revealed, noise included.
        vocabulary: V, all ids below which are tried.
        known: the first tokens, as of a chat template, which are not looked for.
        beam: how many beginnings are kept from token to token; more forgive a wrong token where a row fits
            several.

    Returns:
        A token a row, the known ones among them.
    """
    found, costs = torch.tensor([list(known)], dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
    tries = torch.arange(vocabulary)[:, None]
    for row in seen[len(known) :]:
        longer = [torch.cat([each.expand(vocabulary, -1), tries], dim=1) for each in found]
        misfits = [(rows(each) - row).square().sum(-1).double() for each in longer]
        every = torch.cat([cost + misfit for cost, misfit in zip(costs, misfits, strict=True)])
        best = every.topk(min(beam, len(every)), largest=False)
        found, costs = torch.cat(longer)[best.indices], best.values
    return [int(token) for token in found[0]]


def revealed_rows(rows: Rows, ids: Sequence[int]) -> list[torch.Tensor]:
    """Every row of the tensor for a prompt, [M] each."""
    return [rows(torch.tensor([ids[: end + 1]]))[0] for end in range(len(ids))]


def noisy(seen: Sequence[torch.Tensor], relative: float, generator: torch.Generator) -> list[torch.Tensor]:
    """Rows plus Gaussian noise, of that root mean square relative to the tensor's own."""
    whole = torch.cat([row.reshape(-1) for row in seen])
    scale = relative * float(whole.square().mean().sqrt())
    return [row + scale * torch.randn(row.shape, generator=generator, dtype=row.dtype) for row in seen]


def recovery(found: Sequence[int], ids: Sequence[int], known: int = 0) -> float:
    """The share of tokens that are right, each in its place; without the first, which are known."""
    right = [a == b for a, b in zip(found, ids, strict=True)][known:]
    return sum(right) / len(right)
