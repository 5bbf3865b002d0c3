"""A loss that keeps a model from learning protected text by heart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from parties.errors import ConfigError


def barrier(losses: torch.Tensor, gamma: float, least: float) -> torch.Tensor:
    """gamma / l for losses l >= `least`, and the tangent at `least` below it.

    Near 0, gamma / l and its slope have no bound. The tangent holds the slope at -gamma / least^2, and so
    pulls up what is below; a loss cut off at `least` would let it go.
    """
    held = losses.clamp(min=least)
    return gamma / held + (gamma / least**2) * (held - losses)


def regression_objective(
    protected: torch.Tensor, other: torch.Tensor, gamma: float, *, floor: float = 0.25
) -> torch.Tensor:
    """l1 / 2 + gamma / l1 + l2 / 2, least at l1 = sqrt(2 gamma) where l2 does not hinder it.

    Args:
        protected: l1, the loss on protected data, a scalar.
        other: l2, the loss on the rest.
        gamma: > 0.
        floor: a fraction of sqrt(2 gamma), below which the tangent stands for gamma / l1.

    Source: arXiv 2308.12247, for softmax regression with l = |softmax(A x) - b|^2.
    """
    return protected / 2 + barrier(protected, gamma, floor * math.sqrt(2 * gamma)) + other / 2


def cross_entropies(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of every token [B, T], nats, of logits [B, T, V] and targets [B, T]."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(
        targets
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedDataLoss:
    """Cross-entropy of everything plus gamma / l of every protected row, l that row's own cross-entropy.

    A row is the protected tokens of one window. A window with a fraction w of its tokens protected
    adds w gamma / l, so that a protected row alone would come to rest at l = sqrt(gamma) nats a token,
    however many rows are protected. It holds means: some tokens of a row may be certain where others
    are far off. It is no guarantee of any kind, legal or of differential privacy.

    Attributes:
        gamma: > 0; protected rows are held near sqrt(gamma) nats a token.
        floor: a fraction of sqrt(gamma), in (0, 1): below it the term goes on as its tangent (`barrier`), so
            that it pulls up at most 1 / floor^2 times as hard as cross-entropy pulls down.
        warmup: steps without the term at the beginning of a run.

    Source: arXiv 2308.12247, as its code has it for language models, with these changes: a boolean mask in
        place of indices, a term for each row, gradients into all weights, a floor.
    """

    gamma: float = 1.0
    floor: float = 0.25
    warmup: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.gamma < math.inf:
            raise ConfigError(f"gamma of protected data must be finite and above 0, got {self.gamma}")
        if not 0 < self.floor < 1:
            raise ConfigError(f"floor of protected data must be a fraction in (0, 1), got {self.floor}")
        if self.warmup < 0:
            raise ConfigError(f"warmup of protected data must be at least 0, got {self.warmup}")

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor, protected: torch.Tensor) -> torch.Tensor:
        """The whole loss, a scalar: logits [B, T, V], targets [B, T] and a boolean mask, [B, T] or [B]."""
        losses = cross_entropies(logits, targets)
        return losses.mean() + self.term(losses, protected)

    def term(self, losses: torch.Tensor, protected: torch.Tensor) -> torch.Tensor:
        """What is added to the mean of cross-entropies, a scalar; 0 where nothing is protected.

        Args:
            losses: cross-entropy a token [B, T], nats.
            protected: a boolean mask of tokens [B, T], or of whole rows [B].

        Raises:
            ConfigError: a mask that is not boolean (0 and 1 as integers would be places) or of another shape.
        """
        if protected.dtype != torch.bool:
            raise ConfigError(f"the mask of protected data must be boolean, got {protected.dtype}")
        if protected.shape not in (losses.shape, losses.shape[:1]):
            raise ConfigError(
                f"the mask of protected data must be {list(losses.shape)} or {list(losses.shape[:1])}, "
                f"got {list(protected.shape)}"
            )
        mask = protected if protected.ndim == losses.ndim else protected[:, None].expand_as(losses)
        tokens = mask.sum(1)
        rows = tokens > 0
        counts = tokens[rows].to(losses.dtype)
        means = torch.where(mask, losses, 0.0).sum(1)[rows] / counts
        terms = barrier(means, self.gamma, self.floor * math.sqrt(self.gamma))
        return (terms * counts).sum() / losses.numel()
