"""Features of queries and keys in float, and attention over what is kept of keys as sums of them."""

from __future__ import annotations

import torch
from torch.nn import functional

from mpcinfer.backends.attention_weights import visible_keys
from mpcinfer.models.attention_state import AttentionState, FeatureMap, feature_scale
from mpcinfer.models.config import AttentionForm


def features_of(x: torch.Tensor, features: FeatureMap) -> torch.Tensor:
    """phi of queries [.., T, K], or of [x, 1] where `with_one` says so: [.., T, R]. Keys have the same phi,
    except for ``pairs`` (`pairs_of_keys`)."""
    if features == "pairs":
        first, second = torch.triu_indices(x.shape[-1], x.shape[-1])
        return x[..., first] * x[..., second]
    scaled = x * feature_scale(x.shape[-1])
    return (scaled + 1).square() if features == "square" else functional.elu(scaled) + 1


def pairs_of_keys(k: torch.Tensor) -> torch.Tensor:
    """Features of keys [.., S, K] whose product with ``pairs`` of queries is (q k)^2."""
    first, second = torch.triu_indices(k.shape[-1], k.shape[-1])
    return k[..., first] * k[..., second] * torch.where(first == second, 1.0, 2.0).to(k)


def softmax_with_state(
    q: torch.Tensor,
    scores: torch.Tensor,
    v: torch.Tensor,
    start: int,
    form: AttentionForm,
    state: AttentionState[torch.Tensor],
) -> torch.Tensor:
    """(exp(s) v + phi(q) Z) / (sum exp(s) + phi(q) z), all over exp of each row's largest score or 0.

    Args:
        q: [B, H, T, K], over sqrt(K); scores: of them, [B, H, T, S]; v: [B, H, S, K].
    """
    visible = visible_keys(scores, start, form.window, causal=form.causal, patterns=form.patterns)
    shown = scores.masked_fill(~visible, float("-inf"))
    largest = shown.detach().amax(-1, keepdim=True).clamp_min(0.0)
    weights, added = torch.exp(shown - largest), features_of(q, state.features) @ state.sums
    added = added if state.beside is None else added + _last(state.beside, added)
    added = added * torch.exp(-largest)
    return (weights @ v + added[..., :-1]) / (weights.sum(-1, keepdim=True) + added[..., -1:])


def squares_with_state(
    q: torch.Tensor,
    scores: torch.Tensor,
    v: torch.Tensor,
    start: int,
    form: AttentionForm,
    state: AttentionState[torch.Tensor],
    offset: torch.Tensor | None = None,
    epsilon: torch.Tensor | None = None,
) -> torch.Tensor:
    """(s^2 v + phi(q) S) / (sum s^2 + epsilon L + phi(q) z + beside): attention of power 2 over all keys,
    those of the sums among them. L counts the others, and of those `keys`; `beside` may have epsilon times
    their number instead.

    Args:
        q: [B, H, T, K], over sqrt(K); scores: of them, offset and shift included; v: [B, H, S, K].
    """
    visible = visible_keys(scores, start, form.window, causal=form.causal, patterns=form.patterns)
    weights = scores.masked_fill(~visible, 0.0).square()
    lengths = (visible.sum(-1, keepdim=True) + state.keys).to(scores)
    per_key = form.epsilon if epsilon is None else epsilon[:, None, None]
    added = features_of(with_one(q, form, offset), "pairs") @ state.sums
    added = added if state.beside is None else added + _last(state.beside, added)
    sums = weights.sum(-1, keepdim=True) + per_key * lengths
    return (weights @ v + added[..., :-1]) / (sums + added[..., -1:])


def state_of_squares(
    state: AttentionState[torch.Tensor] | None,
    k: torch.Tensor,
    v: torch.Tensor,
    form: AttentionForm,
    offset: torch.Tensor | None,
) -> AttentionState[torch.Tensor]:
    """A state, or none, with keys and values [B, H, S, K] in it, for attention of power 2."""
    count = k.shape[-2]
    if offset is not None or form.shift:
        column = torch.zeros(1, 1, 1).to(k) if offset is None else offset[:, None, None]
        k = torch.cat([k, (column + form.shift).expand(*k.shape[:-1], 1)], -1)
    sums = pairs_of_keys(k).transpose(-1, -2) @ torch.cat([v, torch.ones_like(v[..., :1])], -1)
    if state is None:
        return AttentionState("pairs", sums, keys=count)
    return AttentionState("pairs", state.sums + sums, state.beside, state.keys + count)


def with_one(q: torch.Tensor, form: AttentionForm, offset: torch.Tensor | None) -> torch.Tensor:
    """Queries, with a column of ones where scores have an offset or a shift; keys have those in it."""
    if offset is None and not form.shift:
        return q
    return torch.cat([q, torch.ones_like(q[..., :1])], -1)


def _last(beside: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """Zeros, and in the last column what is added to rows' sums."""
    return functional.pad(beside, (added.shape[-1] - 1, 0))
