"""A model in memory: shape, weights, tokenizer, and what is known of its ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Weights (float32, named and shaped as `weight_shapes` says) with the tokenizer that fits them.

    Attributes:
        name: as the user called it; a registry name or a path.
        ranges: what was seen in the float model, under the keys of `mpcinfer.models.ranges`; empty where the
            model was never calibrated.
        labels: names of the classes, where the head has some.
    """

    name: str
    config: ModelConfig
    weights: Mapping[str, torch.Tensor]
    tokenizer: Tokenizer
    ranges: Mapping[str, float] = field(default_factory=dict[str, float])
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = weight_shapes(self.config)
        missing = sorted(set(expected) - set(self.weights))
        unknown = sorted(set(self.weights) - set(expected))
        if missing or unknown:
            raise ConfigError(f"{self.name}: missing weights {missing[:3]}, unknown weights {unknown[:3]}")
        for name, shape in expected.items():
            if tuple(self.weights[name].shape) != shape:
                got = tuple(self.weights[name].shape)
                raise ConfigError(f"{self.name}: {name} has shape {got}, expected {shape}")
