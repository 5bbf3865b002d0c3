"""One attention head alone, and every tensor of it that some protocol reveals.

Shape legend: N tokens, D width. A secret prompt is X [N, D], a row a token; the server's matrices are
W = W_Q W_K^T [D, D] and V [D, D].

What weaker protocols reveal: scores, attention weights, rows of the output (each as they are), the same under
a fresh secret permutation of each row's entries, a row's maximum, values after truncation, and which keys are
among the k largest. The attention-inversion losses of arXiv 2310.12462 are over the second and the third; the
form with V is a reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

Kind = Literal["softmax", "power4"]
TRUNCATED_BITS = 8
TOP_K = 4


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A head in float64.

    Attributes:
        w, v: [D, D].
        epsilon: of power4, added to the mean of a row's powers.
    """

    w: torch.Tensor
    v: torch.Tensor
    kind: Kind = "softmax"
    causal: bool = True
    epsilon: float = 0.0

    @classmethod
    def random(
        cls,
        width: int,
        kind: Kind = "softmax",
        *,
        causal: bool = True,
        symmetric: bool = False,
        seed: int = 0,
    ) -> Head:
        """Matrices with scores of order 1 for rows of tokens N(0, 1)."""
        generator = torch.Generator().manual_seed(seed)
        w, v = (torch.randn(width, width, generator=generator, dtype=torch.float64) for _ in range(2))
        w = (w + w.T) / 2**0.5 if symmetric else w
        return cls(w / width, v / width**0.5, kind, causal)

    def scores(self, q: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Of queries Q, which are the last rows of X or all of them, [..., T, D] and [..., N, D] ->
        [..., T, N]; of keys that a query does not see 0."""
        return (q @ self.w @ x.mT).masked_fill(~self._seen(q, x), 0.0)

    def weights(self, q: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Attention weights, [..., T, N]."""
        seen, s = self._seen(q, x), q @ self.w @ x.mT
        if self.kind == "softmax":
            return torch.softmax(s.masked_fill(~seen, float("-inf")), dim=-1)
        powers = (s**4).masked_fill(~seen, 0.0)
        return powers / (powers.sum(-1, keepdim=True) + self.epsilon * seen.sum(-1, keepdim=True))

    def outputs(self, q: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """[..., T, D]."""
        return self.weights(q, x) @ (x @ self.v)

    def row_maximum(self, q: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The largest score that each query sees, [..., T, 1]."""
        return (q @ self.w @ x.mT).masked_fill(~self._seen(q, x), float("-inf")).amax(-1, keepdim=True)

    def top_keys(self, q: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """1 for the keys of each row's largest weights, [..., T, N]."""
        weights = self.weights(q, x)
        count = min(TOP_K, weights.shape[-1])
        return torch.zeros_like(weights).scatter(-1, weights.topk(count, dim=-1).indices, 1.0)

    def _seen(self, q: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Which keys each query sees, [T, N]."""
        every = torch.ones(q.shape[-2], x.shape[-2], dtype=torch.bool)
        return every.tril(x.shape[-2] - q.shape[-2]) if self.causal else every


def truncated(values: torch.Tensor, frac_bits: int = TRUNCATED_BITS) -> torch.Tensor:
    """Rounded down to so many fraction bits, as values after a truncation that is opened."""
    return torch.floor(values * 2.0**frac_bits) / 2.0**frac_bits


def unordered(values: torch.Tensor) -> torch.Tensor:
    """What a fresh secret permutation of a row's entries leaves: their multiset, here in order of size."""
    return values.sort(-1).values


Revealed = Callable[[Head, torch.Tensor, torch.Tensor], torch.Tensor]
REVEALED: dict[str, Revealed] = {
    "attention scores": Head.scores,
    "attention weights": Head.weights,
    "output rows": Head.outputs,
    "truncated output rows": lambda head, q, x: truncated(head.outputs(q, x)),
    "permuted scores": lambda head, q, x: unordered(head.scores(q, x)),
    "permuted activations": lambda head, q, x: unordered(head.outputs(q, x)),
    "row maximum": Head.row_maximum,
    "top-k pattern": Head.top_keys,
}
"""By name; each is a function of queries and of all rows of the prompt -> [..., T, M]."""
STEPS = ("truncated output rows", "top-k pattern")
"""Piecewise constant: their Jacobian is 0 and says nothing."""
