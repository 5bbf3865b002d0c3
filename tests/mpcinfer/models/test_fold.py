"""Folding changes the shape and not the function."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold, folded_config
from tests.mpcinfer.forms import LLAMA_FORM

GPT2 = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=40, context=16
)
LLAMA = dataclasses.replace(
    GPT2,
    kv_heads=1,
    **LLAMA_FORM,
)


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_folded_model_is_the_same_function(config: ModelConfig) -> None:
    generator = torch.Generator().manual_seed(5)
    weights = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in weight_shapes(config).items()
    }
    folded, folded_weights = fold(config, weights)
    assert folded == folded_config(config)
    assert {name: tuple(w.shape) for name, w in folded_weights.items()} == weight_shapes(folded)
    backend = PlainBackend()
    tokens = backend.tokens([3, 1, 4, 1, 5], 5)
    before = Decoder(backend, config, weights).forward(tokens, 5)
    after = Decoder(backend, folded, folded_weights).forward(tokens, 5)
    assert torch.allclose(before, after, rtol=0, atol=1e-9 * float(before.abs().max()))


def test_folding_twice_changes_nothing() -> None:
    config = folded_config(GPT2)
    assert folded_config(config) == config
