"""From weights as they are trained to weights as they are used: normalised, with scales folded in.

None of this costs anything in a private run: it is done by the server, in cleartext, before the run. All of
it is differentiable, so that training runs the decoder on the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch

from mpcinfer.models.affine import fold_norm, reader
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folded import static_config


def static(
    config: ModelConfig, weights: Mapping[str, torch.Tensor]
) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """Weights without gains, directions, temperatures of heads and residual scales: the same function.

    1. W = gain V / |V|, a column at a time, or V / sigma(V).
    2. W_Q and its bias are divided by the heads' temperatures.
    3. x_{l+1} = beta x + FFN(x) / alpha becomes y_{l+1} = y + FFN'(y) with x_l = B_l y_l and B_l the product
       of the betas before: what reads the residual is multiplied by B, what writes it divided. The last B
       stays in front of the head as a matrix, for a head that shares its table with the embedding.
    4. Linear norms go into the layers that read them, the last into that matrix and its bias.

    Args:
        weights: as `weight_shapes(config)` names them.

    Returns:
        `static_config` and its weights, in the weights' own dtype; tensors that do not change are the same.

    Source: docs/protocols.md, section 8; weight normalisation (Salimans and Kingma,
        arXiv 1602.07868), spectral normalisation (Miyato et al., arXiv 1802.05957).
    Deviation: sigma is exact and not from a power iteration.
    """
    result = dict(weights)
    for layer in range(config.layers):
        if config.has_ffn(layer) and config.ffn_weights != "plain":
            _normalise_ffn(result, f"layer{layer}.ffn", config.ffn_weights)
        if config.temperature == "head":
            _divide_queries(result, f"layer{layer}.attn", config)
    if config.scaled_ffn:
        _unscale_residual(result, config)
    if config.norm == "linear":
        _fold_linear_norms(result, config)
    return static_config(config), result


def _fold_linear_norms(weights: dict[str, torch.Tensor], config: ModelConfig) -> None:
    for layer in range(config.layers if config.block_norms else 0):
        if config.norm_affine:
            fold_norm(weights, f"layer{layer}.norm1", reader(config, layer, "attn.qkv"))
        if config.norm_affine and config.has_ffn(layer):
            fold_norm(weights, f"layer{layer}.norm2", reader(config, layer, "ffn.in"))
    if config.final_norm:
        gain, bias = weights.pop("head.norm.weight"), weights.pop("head.norm.bias")
        before = weights.get("head.input.weight")
        weights["head.input.weight"] = torch.diag(gain) if before is None else before * gain
        weights["head.input.bias"] = bias


def _normalise_ffn(weights: dict[str, torch.Tensor], prefix: str, kind: str) -> None:
    for part in ("in", "out"):
        name = f"{prefix}.{part}.weight"
        if name not in weights:
            continue
        matrix = weights[name]
        if kind == "weight_norm":
            gain = weights.pop(f"{prefix}.{part}.gain")
            weights[name] = matrix * (gain / matrix.square().sum(0).sqrt())
        else:
            weights[name] = matrix / _spectral_norm(matrix)


def _spectral_norm(matrix: torch.Tensor) -> torch.Tensor:
    """The largest singular value, exactly; float32 at least."""
    return cast(torch.Tensor, torch.linalg.svdvals(matrix))[0]  # pyright: ignore


def _divide_queries(weights: dict[str, torch.Tensor], prefix: str, config: ModelConfig) -> None:
    factor = torch.exp(-weights.pop(f"{prefix}.log_temperature")).repeat_interleave(config.head_width)
    rest = 2 * config.kv_heads * config.head_width
    columns = torch.cat([factor, factor.new_ones(rest)])
    for name in (f"{prefix}.qkv.weight", f"{prefix}.qkv.bias"):
        if name in weights:
            weights[name] = weights[name] * columns


def _unscale_residual(weights: dict[str, torch.Tensor], config: ModelConfig) -> None:
    """Step 3, layer by layer; B is kept as a tensor [1], so that gradients reach the betas."""
    scale = weights["embed.tokens"].new_ones(1)

    def times(names: list[str], factor: torch.Tensor) -> None:
        for name in names:
            if name in weights:
                weights[name] = weights[name] * factor

    for layer in range(config.layers):
        prefix = f"layer{layer}"
        times([f"{prefix}.attn.qkv.weight"], scale)
        times([f"{prefix}.attn.out.weight", f"{prefix}.attn.out.bias"], 1 / scale)
        if not config.has_ffn(layer):
            continue
        alpha, beta = (weights.pop(f"{prefix}.ffn.{name}") for name in ("alpha", "beta"))
        after = scale * beta
        writes = [f"{prefix}.ffn.out.bias"]
        if config.ffn == "fused":
            times([f"{prefix}.ffn.out.weight"], scale / (alpha * after))
        else:
            times([f"{prefix}.ffn.in.weight"], scale)
            writes.append(f"{prefix}.ffn.out.weight")
        times(writes, 1 / (alpha * after))
        scale = after
    before = weights.get("head.input.weight")
    identity = torch.eye(config.width, dtype=scale.dtype, device=scale.device)
    weights["head.input.weight"] = scale * (identity if before is None else before)
