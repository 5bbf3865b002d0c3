"""The cases in the clear, on torch: the reference in float64, and what cleartext costs.

Shape legend: T tokens, D model, H heads, K head width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

HEADS = 12
EPS = 1e-5
Weights = Mapping[str, Tensor]


def matmul(x: Tensor, w: Weights) -> Tensor:
    return x @ w["weight"]


def relu(x: Tensor, w: Weights) -> Tensor:
    return functional.relu(x)


def gelu(x: Tensor, w: Weights) -> Tensor:
    """Hendrycks and Gimpel's tanh form, which GPT-2 has; within 5e-4 of the other."""
    return functional.gelu(x, approximate="tanh")


def softmax(x: Tensor, w: Weights) -> Tensor:
    """Over the keys up to the query's own: scores [H, T, T]."""
    unseen = torch.ones(x.shape[-2:], dtype=torch.bool).triu(1)
    return x.masked_fill(unseen, -math.inf).softmax(-1)


def layernorm(x: Tensor, w: Weights) -> Tensor:
    """Without gain and bias, which fold into the next matrix."""
    return functional.layer_norm(x, x.shape[-1:], eps=EPS)


def block(x: Tensor, w: Weights) -> Tensor:
    """A pre-norm block with GELU: [T, D] -> [T, D]."""
    normed = layernorm(x, w) * w["norm1.weight"] + w["norm1.bias"]
    x = x + attention(normed, w) + w["attn.out.bias"]
    normed = layernorm(x, w) * w["norm2.weight"] + w["norm2.bias"]
    hidden = gelu(normed @ w["ffn.in.weight"] + w["ffn.in.bias"], w)
    return x + hidden @ w["ffn.out.weight"] + w["ffn.out.bias"]


def softmax_block(x: Tensor, w: Weights) -> Tensor:
    """Softmax is all that is not linear in it: no norms, and an FFN of one matrix."""
    x = x + attention(x, w)
    return x + x @ w["ffn.out.weight"]


def attention(x: Tensor, w: Weights) -> Tensor:
    """Causal attention without the bias of its output: [T, D] -> [T, D]."""
    qkv = x @ w["attn.qkv.weight"] + w.get("attn.qkv.bias", torch.zeros(1, dtype=x.dtype))
    q, k, v = (part.reshape(len(x), HEADS, -1).transpose(0, 1) for part in qkv.chunk(3, -1))
    mixed = softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, w) @ v
    return mixed.transpose(0, 1).flatten(1) @ w["attn.out.weight"]


PROGRAMS = {
    "matmul": matmul,
    "relu": relu,
    "gelu": gelu,
    "softmax": softmax,
    "layernorm": layernorm,
    "block": block,
    "softmax-block": softmax_block,
}
