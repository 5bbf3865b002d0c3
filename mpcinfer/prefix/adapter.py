"""An adapter: the sums that every layer's attention adds, and the model that they are for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from mpcinfer.models.attention_state import AttentionState, FeatureMap, check_features, feature_count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.prefix_formats import (
    BESIDE_FRAC,
    LARGEST_READ,
    LARGEST_SQUARES,
    LARGEST_SUM,
    LEAST_DIVISOR,
    LEAST_KEPT,
    sum_frac,
)
from mpcinfer.models.public import PublicModel
from parties.errors import ConfigError, RangeError

_MOST_BITS = 62
READ, SUM, DIVISOR = "largest_read", "largest_sum", "least_divisor"
"""What is measured of an adapter over texts; `mpcinfer.models.prefix_formats` says of what."""


def model_digest(public: PublicModel) -> str:
    """SHA-256 of a model's shape and vocabulary, 64 hex digits: what an adapter is said to be for.

    Weights are not in it: a client has none. An adapter of other weights of the same shape is not noticed.
    """
    told = hashlib.sha256(json.dumps(public.config.to_json(), sort_keys=True).encode())
    told.update(json.dumps(sorted(public.tokenizer.backend.get_vocab().items())).encode())
    return told.hexdigest()


def state_shape(config: ModelConfig, features: FeatureMap) -> tuple[int, int, int, int]:
    """[1, H, R, K + 1] of a layer's sums.

    Raises:
        ConfigError: these features are not for the model's attention.
    """
    check_features(features, config.attention, config.power)
    shifted = bool(config.form.shift) or config.attention_offset
    count = feature_count(features, config.head_width, shifted=shifted)
    return 1, config.heads, count, config.head_width + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrefixAdapter:
    """A prefix's states. How many tokens the prefix had is not kept, and cannot be read from the shapes.

    Attributes:
        features: which phi (`FeatureMap`).
        sums: a layer each, [1, H, R, K + 1] in float64 (`AttentionState.sums`).
        beside: a layer each, [1, H, 1, 1]; empty for features of softmax.
        model: `model_digest` of the model.
        made_by: how, for people.
        measured: `READ`, `SUM` and `DIVISOR` over texts; empty where nobody measured.
    """

    features: FeatureMap
    sums: tuple[torch.Tensor, ...]
    beside: tuple[torch.Tensor, ...] = ()
    model: str
    made_by: str = ""
    measured: Mapping[str, float] = field(default_factory=dict[str, float])

    def require_for(self, public: PublicModel) -> None:
        """Checks an adapter against a model.

        Raises:
            ConfigError: it is for another model or another kind of attention, has another shape, or numbers
                that are not finite.
        """
        shape = state_shape(public.config, self.features)
        if self.model != model_digest(public):
            raise ConfigError(
                f"the prefix is for a model of digest {self.model[:12]}, {public.name} has "
                f"{model_digest(public)[:12]}: its shape or its vocabulary is another"
            )
        require_shapes(self.sums, self.beside, self.features, shape, public.config.layers)
        if not all(bool(each.isfinite().all()) for each in (*self.sums, *self.beside)):
            raise ConfigError("the prefix has numbers that are not finite")

    def states(self, dtype: torch.dtype = torch.float64) -> list[AttentionState[torch.Tensor]]:
        """A state a layer."""
        beside = [each.to(dtype) for each in self.beside] or [None] * len(self.sums)
        return [
            AttentionState(self.features, sums.to(dtype), more)
            for sums, more in zip(self.sums, beside, strict=True)
        ]

    def fixed(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Sums with `sum_frac` and what is beside them with `BESIDE_FRAC` fraction bits, int64.

        Raises:
            RangeError: numbers that do not fit, or measured ones beyond `mpcinfer.models.prefix_formats`.
        """
        pairs = self.features == "pairs"
        most = {READ: LARGEST_SQUARES} if pairs else {READ: LARGEST_READ, SUM: LARGEST_SUM}
        for name, limit in most.items():
            if not (largest := self.measured.get(name, 0.0)) <= limit:
                raise RangeError(f"the prefix: {name} is {largest:.4g}, private runs hold {limit:g}")
        limit = LEAST_KEPT if pairs else LEAST_DIVISOR
        if not (least := self.measured.get(DIVISOR, 1.0)) >= limit:
            raise RangeError(f"the prefix: {DIVISOR} is {least:.4g}, private runs hold {limit:g}")
        sums = [_fixed(each, sum_frac(self.features)) for each in self.sums]
        return sums, [_fixed(each, BESIDE_FRAC) for each in self.beside]


def require_shapes(
    sums: tuple[torch.Tensor, ...],
    beside: tuple[torch.Tensor, ...],
    features: FeatureMap,
    shape: tuple[int, ...],
    layers: int,
) -> None:
    """Raises ConfigError where states are not of these layers and shapes."""
    if len(sums) != layers or len(beside) not in (0, layers if features == "pairs" else 0):
        raise ConfigError(f"the prefix has states of {len(sums)} layers, the model has {layers}")
    for expected, tensors in ((shape, sums), ((*shape[:2], 1, 1), beside)):
        for each in tensors:
            if tuple(each.shape) != expected:
                raise ConfigError(f"a layer's prefix has shape {tuple(each.shape)}, expected {expected}")


def _fixed(value: torch.Tensor, frac_bits: int) -> torch.Tensor:
    scaled = (value.double() * 2.0**frac_bits).round()
    if not bool((scaled.abs() < 2.0**_MOST_BITS).all()):
        largest = float(value.abs().max())
        raise RangeError(f"a prefix of numbers up to {largest:.4g}: {frac_bits} fraction bits do not hold it")
    return scaled.to(torch.int64)
