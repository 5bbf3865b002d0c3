"""Kinds of what a transformer is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NormKind = Literal["layernorm", "rmsnorm"]
ActivationKind = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh", "identity"]
FfnKind = Literal["mlp", "glu", "fused", "none"]
PositionKind = Literal["learned", "rope"]
AttentionKind = Literal["softmax", "power", "relu"]
TemperatureKind = Literal["none", "head", "position"]
FfnWeights = Literal["plain", "weight_norm", "spectral_norm"]
NormOrder = Literal["pre", "post"]
HeadKind = Literal["vocabulary", "embedding", "classes"]
Pooling = Literal["last", "first", "mean"]
PoolerKind = Literal["none", "tanh", "relu"]


@dataclass(frozen=True, slots=True)
class AttentionForm:
    """Attention weights of a layer as a function of scores; the fields are those of `ModelConfig`.

    Attributes:
        window: a query sees this many keys, its own the last of them; 0 for all up to its own.
        causal: a query sees the keys up to its own; otherwise all.
    """

    kind: AttentionKind = "softmax"
    power: int = 4
    epsilon: float = 1e-3
    shift: float = 0.0
    window: int = 0
    causal: bool = True
