"""Folding norm gains and biases into the next weights: the same function with less to compute on shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch

from mpcinfer.models.config import ModelConfig, weight_shapes


def folded_config(config: ModelConfig) -> ModelConfig:
    """The shape after `fold_norms`: blocks without norm gains, linear layers after norms with biases."""
    if not config.norm_affine:
        return config
    biased = config.norm == "layernorm"
    return dataclasses.replace(
        config,
        norm_affine=False,
        qkv_bias=config.qkv_bias or biased,
        ffn_bias=config.ffn_bias or biased,
    )


def fold_norms(
    config: ModelConfig, weights: Mapping[str, torch.Tensor]
) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """Moves each block norm's gain and bias into the linear layer that reads it.

    norm(x) = n g + b and y = norm(x) W + c give y = n (diag(g) W) + (b W + c): exact in real arithmetic,
    computed here in float64. The final norm keeps its gain: the tied head shares its table with the
    embedding, which must not change.

    Args:
        weights: float tensors as `weight_shapes(config)` names them.

    Returns:
        The folded shape and its weights, in the weights' own dtype.
    """
    folded = folded_config(config)
    result = dict(weights)
    if folded == config:
        return config, result
    for layer in range(config.layers):
        for norm, linear in (("norm1", "attn.qkv"), ("norm2", "ffn.in")):
            _fold(result, f"layer{layer}.{norm}", f"layer{layer}.{linear}")
    for name, shape in weight_shapes(folded).items():
        if name not in result:  # the other half of a bias flag that folding switched on
            result[name] = torch.zeros(shape, dtype=weights["embed.tokens"].dtype)
    return folded, result


def _fold(weights: dict[str, torch.Tensor], norm: str, linear: str) -> None:
    gain = weights.pop(f"{norm}.weight")
    offset = weights.pop(f"{norm}.bias", None)
    matrix = weights[f"{linear}.weight"]
    weights[f"{linear}.weight"] = (gain.double()[:, None] * matrix.double()).to(matrix.dtype)
    if offset is not None:
        bias = offset.double() @ matrix.double()
        if f"{linear}.bias" in weights:
            bias = bias + weights[f"{linear}.bias"].double()
        weights[f"{linear}.bias"] = bias.to(matrix.dtype)


def fold_centring(config: ModelConfig, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Centres every matrix and bias that writes the residual, so that layer norms need no mean.

    With C = I - 11^T / D: a layer norm reads x C, and C is linear, so that it can be applied to all that x is
    a sum of: the blocks' output matrices and biases here, and the embedding by whoever looks it up (a tied
    head needs the table as it is). Exact in real arithmetic; computed here in float64. RMS norms stay.

    Returns:
        The weights, those matrices and biases replaced.
    """
    result = dict(weights)
    if config.norm != "layernorm":
        return result
    for layer in range(config.layers):
        for name in (f"layer{layer}.attn.out", f"layer{layer}.ffn.out"):
            for part in (f"{name}.weight", f"{name}.bias"):
                if part in result:
                    value = result[part].double()
                    result[part] = (value - value.mean(-1, keepdim=True)).to(result[part].dtype)
    return result
