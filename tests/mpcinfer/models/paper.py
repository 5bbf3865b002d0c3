# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The papers' decoder, written straight from their equations: what our folds and scales are compared with.

Nothing of ours is used but the names of weights. One prompt [T], no batch, no cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from mpcinfer.models.config import ModelConfig, weight_shapes

Weights = Mapping[str, torch.Tensor]


def logits(config: ModelConfig, weights: Weights, ids: list[int]) -> torch.Tensor:
    """[T, V], with everything that training learns: gains, temperatures, alpha and beta."""
    x = weights["embed.tokens"][ids] + weights["embed.positions"][: len(ids)]
    for layer in range(config.layers):
        block = {
            name.removeprefix(f"layer{layer}."): value
            for name, value in weights.items()
            if name.startswith(f"layer{layer}.")
        }
        attended = x + attention(config, block, normed(config, block, "norm1", x))
        if layer >= config.layers - config.pruned_ffns or config.ffn == "none":
            x = attended
            continue
        added = ffn(config, block, normed(config, block, "norm2", attended))
        if config.scaled_ffn:
            x = block["ffn.beta"] * attended + added / block["ffn.alpha"]
        else:
            x = attended + added
    if config.head_input:
        x = x @ weights["head.input.weight"]
    if config.final_norm:
        x = norm(config, weights, "head.norm", x)
    return x @ (weights["embed.tokens"].T if config.tied_head else weights["head.weight"])


def attention(config: ModelConfig, block: Weights, x: torch.Tensor) -> torch.Tensor:
    """Head by head, row by row."""
    tokens, width = len(x), config.head_width
    qkv = x @ block["attn.qkv.weight"] + block.get("attn.qkv.bias", torch.zeros(1))
    q, k, v = qkv.split(config.heads * width, dim=-1)
    heads: list[torch.Tensor] = []
    for head in range(config.heads):
        columns = slice(head * width, (head + 1) * width)
        rows: list[torch.Tensor] = []
        for i in range(tokens):
            scores = k[: i + 1, columns] @ q[i, columns] / math.sqrt(width)
            if config.temperature != "none":
                temperature = block["attn.log_temperature"].exp()[head]
                scores = scores / (temperature if config.temperature == "head" else temperature[i])
            if config.attention == "gaussian":
                distances = (q[i, columns] - k[: i + 1, columns]).square().sum(-1)
                rows.append(torch.exp(-distances / (2 * math.sqrt(width))) @ v[: i + 1, columns])
                continue
            rows.append(mixing(config, block, head, scores) @ v[: i + 1, columns])
        heads.append(torch.stack(rows))
    return torch.cat(heads, dim=-1) @ block["attn.out.weight"] + block.get("attn.out.bias", torch.zeros(1))


def mixing(config: ModelConfig, block: Weights, head: int, scores: torch.Tensor) -> torch.Tensor:
    """Weights of the L keys that a query sees; power and ReLU attention in their length-agnostic forms."""
    if config.attention_offset:
        scores = scores + block["attn.offset"][head]
    scores = scores + config.attention_shift
    if config.attention == "softmax":
        powers = (scores - scores.max()).exp()
        return powers / powers.sum()
    if config.attention == "relu":
        return scores.clamp(min=0) / len(scores)
    epsilon = block["attn.epsilon"][head] if config.attention_scaled else config.attention_epsilon
    powers = scores**config.power
    return powers / len(scores) / (powers.mean() + epsilon)


def ffn(config: ModelConfig, block: Weights, x: torch.Tensor) -> torch.Tensor:
    """W_out act(W_in x), or one matrix."""
    zero = torch.zeros(1)
    if config.ffn == "fused":
        return x @ matrix(config, block, "out") + block.get("ffn.out.bias", zero)
    inner = x @ matrix(config, block, "in") + block.get("ffn.in.bias", zero)
    match config.activation:
        case "relu":
            inner = inner.clamp(min=0)
        case "gelu_tanh":
            inner = torch.nn.functional.gelu(inner, approximate="tanh")
        case _:
            assert config.activation == "identity"
    return inner @ matrix(config, block, "out") + block.get("ffn.out.bias", zero)


def matrix(config: ModelConfig, block: Weights, part: str) -> torch.Tensor:
    """As trained, or by column norms, or by the largest singular value."""
    value = block[f"ffn.{part}.weight"]
    if config.ffn_weights == "weight_norm":
        return block[f"ffn.{part}.gain"] * value / torch.linalg.vector_norm(value, dim=0)
    if config.ffn_weights == "spectral_norm":
        return value / torch.linalg.matrix_norm(value, ord=2)
    return value


def normed(config: ModelConfig, block: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    """A block's norm, where it has any."""
    if not config.block_norms:
        return x
    return norm(config, block, name, x)


def norm(config: ModelConfig, weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    """Of a row, or of every number by itself: DyT, Derf, and the line that Powerformer leaves."""
    gain, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    match config.norm:
        case "layernorm":
            return layer_norm(x, gain, bias, config.norm_eps)
        case "dyt":
            return gain * torch.tanh(weights[f"{name}.input.weight"] * x) + bias
        case "derf":
            inner = weights[f"{name}.input.weight"] * x + weights[f"{name}.input.bias"]
            return gain * torch.erf(inner) + bias
        case _:
            assert config.norm == "linear"
            return gain * x + bias


def layer_norm(x: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor, eps: float) -> torch.Tensor:
    """(x - mean) / sqrt(variance + eps), gain and bias."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias


def random_weights(
    config: ModelConfig, seed: int = 5, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    """Of every weight of a shape: matrices N(0, 1 / in), scales and gains near 1, the rest near 0."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for name, shape in weight_shapes(config).items():
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        if name.endswith(("alpha", "beta", "gain")) or ("norm" in name and name.endswith("weight")):
            values = torch.exp(0.2 * values)
        elif name.endswith("epsilon"):
            values = 0.01 * values.abs() + 0.001
        elif name.endswith(("bias", "offset", "temperature")):
            values = 0.3 * values
        elif not name.startswith("embed."):
            values = values * shape[0] ** -0.5
        weights[name] = values.to(dtype)
    return weights
