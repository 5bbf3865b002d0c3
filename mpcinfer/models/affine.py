"""A norm's gain and bias moved into the linear layer that reads it."""

from __future__ import annotations

import torch

from mpcinfer.models.config import ModelConfig


def reader(config: ModelConfig, layer: int, linear: str) -> str:
    """The linear layer after a norm: a fused FFN has no `in`."""
    return f"layer{layer}.{'ffn.out' if linear == 'ffn.in' and config.ffn == 'fused' else linear}"


def fold_norm(weights: dict[str, torch.Tensor], norm: str, linear: str) -> None:
    """(n g + b) W + c = n (diag(g) W) + (b W + c), in the dictionary; differentiable."""
    gain = weights.pop(f"{norm}.weight")
    offset = weights.pop(f"{norm}.bias", None)
    matrix = weights[f"{linear}.weight"]
    weights[f"{linear}.weight"] = gain[:, None] * matrix
    if offset is not None:
        bias = offset @ matrix
        known = weights.get(f"{linear}.bias")
        weights[f"{linear}.bias"] = bias if known is None else bias + known
