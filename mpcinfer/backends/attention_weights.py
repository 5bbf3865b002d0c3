"""Attention weights of every kind in float, differentiable: what training and the references compute."""

from __future__ import annotations

import torch

from mpcinfer.models.config import AttentionForm
from parties.errors import ConfigError
from protocols.key_masks import pattern_mask
from protocols.key_pattern import KeyPattern


def causal_weights(
    scores: torch.Tensor, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
) -> torch.Tensor:
    """Weights of scores [B, H, T, S]; query i, at start + i, sees the first L_i = start + i + 1 keys,
    or the last of them where the form has a window, or all S where it is not causal, or L_i of them where it
    has patterns.

    softmax: exp(s) over the sum. power: s^p over (sum + epsilon L_i), which is s^p / L_i over
    (mean + epsilon): the divisor does not grow with the length. relu: max(s, 0) / L_i. gaussian: exp(s) of
    scores that are -|q - k|^2 / 2.

    Powers are taken of scores over their row's largest magnitude c, and epsilon L_i over c^p keeps the
    quotient what it is: training and inference compute the same function.

    Args:
        epsilon: [H], replaces the form's.

    Source: Power-Softmax (Zimerman et al., arXiv 2410.09457), whose stable form has an epsilon of another
        size; ReLU attention (Wortsman et al., arXiv 2309.08586).
    """
    seen = visible_keys(scores, start, form.window, causal=form.causal, patterns=form.patterns)
    return visible_weights(scores, seen, form, epsilon)


def visible_weights(
    scores: torch.Tensor, visible: torch.Tensor, form: AttentionForm, epsilon: torch.Tensor | None = None
) -> torch.Tensor:
    """As `causal_weights`, of the keys that a mask [T, S] or [H, T, S] has."""
    if form.kind == "softmax":
        return torch.softmax(scores.masked_fill(~visible, float("-inf")), dim=-1)
    if form.kind == "gaussian":
        return torch.exp(scores.masked_fill(~visible, float("-inf")))
    lengths = visible.sum(-1, keepdim=True).to(scores.dtype)
    if form.kind == "relu":
        return torch.relu(scores).masked_fill(~visible, 0.0) / lengths
    shown = scores.masked_fill(~visible, 0.0)
    largest = shown.detach().abs().amax(-1, keepdim=True).clamp_min(_LEAST)
    powers = (shown / largest) ** form.power
    per_key = form.epsilon if epsilon is None else epsilon[:, None, None]
    return powers / (powers.sum(-1, keepdim=True) + per_key * lengths / largest**form.power)


def capped(x: torch.Tensor, cap: float) -> torch.Tensor:
    """cap tanh(x / cap), elementwise; x where the cap is 0 (softcaps, Gemma 2, arXiv 2408.00118)."""
    return cap * torch.tanh(x / cap) if cap else x


def weighed_scores(scores: torch.Tensor, logs: torch.Tensor, form: AttentionForm) -> torch.Tensor:
    """Scores of which the function is w_j times what it was: of softmax s + log w, of a power p, offsets and
    shift included, s w^(1/p), which is what keys times w^(1/p) give.

    Args:
        scores: [B, H, T, S]; logs: [B or 1, 1, 1, S], log w.

    Raises:
        ConfigError: other attention has no such scores.
    """
    if form.kind == "softmax":
        return scores + logs
    if form.kind == "power":
        return scores * torch.exp(logs / form.power)
    raise ConfigError(f"prompt weights are for softmax and power attention, not for {form.kind}")


def visible_keys(
    scores: torch.Tensor,
    start: int,
    window: int = 0,
    *,
    causal: bool = True,
    patterns: tuple[KeyPattern, ...] = (),
) -> torch.Tensor:
    """Which of S keys each of T queries from position `start` on sees, [T, S]: up to its own, or the last
    `window` of these, or all where they are not causal; or what each head's pattern has, [H, T, S]."""
    if patterns:
        return pattern_mask(patterns, start, scores.shape[-2]).to(scores.device)
    every = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
    if not causal:
        return every
    up_to = every.tril(start)
    return up_to.triu(start - window + 1) if window else up_to


_LEAST = 1e-4
"""Rows of smaller scores are not scaled up further: a float32 holds the eighth power of it."""
