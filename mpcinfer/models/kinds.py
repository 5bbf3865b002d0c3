"""Kinds of what a transformer is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from parties.errors import ConfigError
from protocols.key_pattern import KeyPattern

NormKind = Literal["layernorm", "rmsnorm", "dyt", "derf", "linear"]
ActivationKind = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh", "erf", "identity"]
FfnKind = Literal["mlp", "glu", "fused", "none"]
PositionKind = Literal["learned", "rope"]
AttentionKind = Literal["softmax", "power", "relu", "gaussian"]
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
        cap: (softmax) a score s becomes cap tanh(s / cap) before that; 0 for no cap.
        patterns: which of the keys up to its own a query sees, a pattern a head that sees any; empty for all.
    """

    kind: AttentionKind = "softmax"
    power: int = 4
    epsilon: float = 1e-3
    shift: float = 0.0
    window: int = 0
    causal: bool = True
    cap: float = 0.0
    patterns: tuple[KeyPattern, ...] = ()

    def check(self) -> None:
        """Raises ConfigError where its fields do not go together."""
        if self.power not in (2, 4, 6, 8):
            raise ConfigError(f"power must be 2, 4, 6 or 8, got {self.power}")
        if not 0 <= self.cap < math.inf:
            raise ConfigError(f"score_cap must be 0 or more, got {self.cap}")
        if self.kind != "softmax":
            own = {"causal=False": not self.causal, "windows": self.window > 0, "score_cap": self.cap > 0}
            for name in [name for name, stated in own.items() if stated]:
                raise ConfigError(f"{name}: for softmax attention, not for {self.kind}")
        if self.window and not self.causal:
            raise ConfigError("windows are for causal attention, not for causal=False")
        if self.patterns and (self.window or not self.causal):
            raise ConfigError("patterns are for causal attention without windows")
