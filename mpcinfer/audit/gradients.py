"""What the gradients of one text would tell of it, if somebody shared them: the classifier that is attacked.

Shape legend: N tokens, D width, C classes. One softmax head, and a classifier of every token's row or of
their mean. Pure inference computes no gradients and shares none: this is about training and adapters across
parties.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.func import grad
from torch.nn import functional

Weights = dict[str, torch.Tensor]
"""q, k, v [D, D] and classes [D, C]."""


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A head and a classifier, in float64.

    Attributes:
        pooled: a text has one label, of the mean of its rows; otherwise every token has one.
    """

    weights: Weights
    pooled: bool

    @classmethod
    def random(cls, width: int, classes: int, *, pooled: bool, seed: int = 0) -> Classifier:
        """Matrices N(0, 1/D)."""
        generator = torch.Generator().manual_seed(seed)
        shapes = {"q": width, "k": width, "v": width, "classes": classes}
        weights = {
            name: torch.randn(width, out, generator=generator, dtype=torch.float64) / width**0.5
            for name, out in shapes.items()
        }
        return cls(weights, pooled)

    def loss(self, weights: Weights, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of a text's rows X [N, D]; labels [N], or [1] where rows are pooled."""
        return functional.cross_entropy(logits(weights, x, pooled=self.pooled), labels)

    def gradients(self, x: torch.Tensor, labels: torch.Tensor) -> Weights:
        """Of the loss by every matrix."""
        by_weights: Callable[..., Weights] = grad(self.loss)
        return by_weights(self.weights, x, labels)

    def flat_gradients(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The same as one vector, [3 D^2 + D C]."""
        return torch.cat([each.reshape(-1) for each in self.gradients(x, labels).values()])


def logits(weights: Weights, x: torch.Tensor, *, pooled: bool) -> torch.Tensor:
    """Rows [..., N, D] -> [..., N, C], or [..., 1, C]."""
    q, k, v = (x @ weights[name] for name in "qkv")
    rows = torch.softmax(q @ k.mT / x.shape[-1] ** 0.5, dim=-1) @ v
    return (rows.mean(-2, keepdim=True) if pooled else rows) @ weights["classes"]
