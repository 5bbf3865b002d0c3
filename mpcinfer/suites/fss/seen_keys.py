"""Which keys the queries of a layer see, as the gates of attention want it."""

from __future__ import annotations

import math

import torch

from mpcinfer.models.kinds import AttentionForm
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import CachedShare
from protocols.fss.gates.causal import CausalBlocks, SeenKeys
from protocols.fss.gates.pattern_blocks import PatternBlocks
from protocols.share import Share


def seen_keys(q: Share, k: Share, form: AttentionForm, *, whole: bool = True) -> SeenKeys:
    """Of queries [.., T, K] over keys [.., S, K]; where the form has patterns, of all heads in one axis.

    Args:
        whole: in a single block.
    """
    queries, keys = q.shape[-2], k.shape[-2]
    if form.patterns:
        heads = len(form.patterns)
        return PatternBlocks(form.patterns, queries // heads, keys // heads)
    if whole:
        return CausalBlocks.whole(queries, keys, form.window, causal=form.causal)
    return CausalBlocks.of(queries, keys, math.prod(q.shape[:-2]), form.window, causal=form.causal)


def in_one_axis(
    executor: Executor, form: AttentionForm, q: Share, k: CachedShare, v: CachedShare
) -> tuple[Share, CachedShare, CachedShare]:
    """[B, H, T, K] and [B, H, S, K] as `seen_keys` has them: [B, H T, K] where the form has patterns."""
    if not form.patterns:
        return q, k, v

    def flat(value: torch.Tensor) -> torch.Tensor:
        return value.flatten(-3, -2)

    return executor.map(q, flat), k.arranged(flat), v.arranged(flat)


def by_head(executor: Executor, form: AttentionForm, mixed: Share) -> Share:
    """The inverse of an output: [B, H T, K] -> [B, H, T, K] where the form has patterns."""
    if not form.patterns:
        return mixed
    heads = len(form.patterns)
    return executor.map(mixed, lambda v: v.reshape(*v.shape[:-2], heads, -1, v.shape[-1]))


def by_entry(seen: SeenKeys, heads: torch.Tensor) -> torch.Tensor:
    """A number a head [H], for every packed score [B, H, N], or [B, N] of all heads."""
    if isinstance(seen, CausalBlocks):
        return heads[:, None]
    return heads if heads.is_meta else heads.repeat_interleave(torch.tensor(seen.per_head()))


def of_heads_by_row(seen: SeenKeys, heads: torch.Tensor) -> torch.Tensor:
    """A number a head [H], for every row [H, 1, 1] or [H T, 1]."""
    if isinstance(seen, CausalBlocks):
        return heads[:, None, None]
    return heads.repeat_interleave(seen.tokens)[:, None]
