"""Small random models to audit: every kind of value that a real one has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import tokenizers
import torch

from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.tokenizer import Tokenizer

VICTIM = ModelConfig(
    layers=1, width=8, heads=1, kv_heads=1, head_width=8, hidden=8, vocabulary=256, context=16
)
"""One GPT-2 block with all of its parts."""
_TEXTS = ("def f(x):", "return x + 1", "to be or not", "0123456789")


def victim(config: ModelConfig = VICTIM, seed: int = 0) -> Model:
    """A calibrated model with matrices N(0, 1 / in), rows of tokens N(0, 1), gains near 1, biases near 0.

    Its tokens are bytes.
    """
    return _calibrated(config, _weights(config, seed))


def victims(count: int, config: ModelConfig = VICTIM, seed: int = 0) -> list[Model]:
    """Models with the same public part, ranges included, and other weights: a client's candidates.

    Matrices of the blocks differ in the signs of their entries, at random; tables of tokens and positions are
    the same, whose largest entries a client is told. Ranges are the widest of all.
    """
    base, generator = _weights(config, seed), torch.Generator().manual_seed(seed + 1)
    models = [_calibrated(config, _other_signs(base, generator)) for _ in range(count)]
    ranges = _widest([model.ranges for model in models])
    return [dataclasses.replace(model, ranges=ranges) for model in models]


def _weights(config: ModelConfig, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for name, shape in weight_shapes(config).items():
        values = torch.randn(shape, generator=generator)
        if name == "embed.tokens":
            weights[name] = values
        elif len(shape) == 2 and not name.startswith("embed."):
            weights[name] = values * shape[0] ** -0.5
        elif "norm" in name and name.endswith(".weight"):
            weights[name] = 1.0 + 0.1 * values
        else:
            weights[name] = 0.1 * values
    return weights


def _other_signs(weights: Mapping[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    def signs(values: torch.Tensor) -> torch.Tensor:
        return torch.randint(2, values.shape, generator=generator) * 2.0 - 1.0

    return {
        name: values * signs(values) if len(values.shape) == 2 and name.startswith("layer") else values
        for name, values in weights.items()
    }


def _widest(ranges: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of every range the one that holds for all."""
    return {key: (min if key.endswith("_min") else max)(each[key] for each in ranges) for key in ranges[0]}


def _calibrated(config: ModelConfig, weights: dict[str, torch.Tensor]) -> Model:
    model = Model(name="victim", config=config, weights=weights, tokenizer=_bytes_tokenizer())
    return dataclasses.replace(model, ranges=calibrate(model, _TEXTS))


def _bytes_tokenizer() -> Tokenizer:
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[])
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    return Tokenizer(backend=backend)
