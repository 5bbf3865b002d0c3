"""Folding changes the shape and not the function."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import (
    as_run,
    centred_writers,
    fold,
    fold_centring,
    folded_config,
    query_exponent,
    scale_queries,
)
from mpcinfer.models.static import static
from mpcinfer.models.variants import variant, variants
from tests.mpcinfer.forms import LLAMA_FORM
from tests.mpcinfer.models import paper

GPT2 = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=40, context=16
)
LLAMA = dataclasses.replace(
    GPT2,
    kv_heads=1,
    **LLAMA_FORM,
)


CONFIGS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    **{each.name: variant(each.name, GPT2) for each in variants()},
    "SM+LN_i1": variant("SM+LN_i1", GPT2),
    "fused behind norms": dataclasses.replace(GPT2, ffn="fused"),
    "linear, no biases": dataclasses.replace(
        variant("SM+LN", GPT2), qkv_bias=False, out_bias=False, ffn_bias=False, final_norm=False
    ),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_folded_model_is_the_same_function(config: ModelConfig) -> None:
    weights = paper.random_weights(config)
    folded, folded_weights = fold(config, weights)
    assert folded == folded_config(config)
    assert {name: tuple(w.shape) for name, w in folded_weights.items()} == weight_shapes(folded)
    backend = PlainBackend()
    tokens = backend.tokens([3, 1, 4, 1, 5], 5)
    before = Decoder(backend, *static(config, weights)).forward(tokens, 5)
    after = Decoder(backend, folded, folded_weights).forward(tokens, 5)
    assert torch.allclose(before, after, rtol=0, atol=1e-9 * float(before.abs().max()))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_folding_twice_changes_nothing(config: ModelConfig) -> None:
    folded = folded_config(config)
    assert folded_config(folded) == folded


@pytest.mark.parametrize("name", ["SM+LN+G", "SM+ScFFN", "SM(t)+ScFuFFN"])
def test_weights_keep_their_type(name: str) -> None:
    config = variant(name, GPT2)
    _, weights = fold(config, paper.random_weights(config, dtype=torch.float32))
    assert {value.dtype for value in weights.values()} == {torch.float32}


@pytest.mark.parametrize("name", ["SM+LN+G", "SM+G"])
def test_centring_takes_the_means_and_not_the_function(name: str) -> None:
    """Of what the layer norms read, which the embedding's reader sees to where blocks have norms."""
    config = variant(name, dataclasses.replace(GPT2, tied_head=False))
    folded, weights = fold(config, paper.random_weights(config))
    centred = fold_centring(folded, weights)
    writers = centred_writers(folded)
    assert writers == (
        [f"layer{i}.{part}" for i in range(2) for part in ("attn.out", "ffn.out")]
        if config.block_norms
        else ["head.input"]
    )
    for writer in writers:
        assert float(centred[f"{writer}.weight"].mean(-1).abs().max()) < 1e-15
    if config.block_norms:
        for table in ("embed.tokens", "embed.positions"):
            centred[table] = centred[table] - centred[table].mean(-1, keepdim=True)
    backend, ids = PlainBackend(), [3, 1, 4, 1, 5]
    tokens = backend.tokens(ids, 5)
    right = Decoder(backend, folded, weights).forward(tokens, 5)
    assert torch.allclose(Decoder(backend, folded, centred).forward(tokens, 5), right, rtol=0, atol=1e-9)


@pytest.mark.parametrize("width", [4, 6, 8, 128])
def test_queries_are_scaled_by_a_power_of_two_and_by_their_weights(width: int) -> None:
    config = dataclasses.replace(GPT2, head_width=width)
    weights = paper.random_weights(config)
    scaled, queries = scale_queries(config, weights), config.heads * width
    for name in ("layer0.attn.qkv.weight", "layer1.attn.qkv.bias"):
        moved = scaled[name][..., :queries] * 2.0 ** query_exponent(config)
        assert torch.allclose(moved, weights[name][..., :queries] * width**-0.5, rtol=1e-14, atol=0)
        assert torch.equal(scaled[name][..., queries:], weights[name][..., queries:])
        assert bool((scaled[name].abs() <= weights[name].abs()).all())
    assert scaled["layer0.attn.out.weight"] is weights["layer0.attn.out.weight"]


@pytest.mark.parametrize("folds", [True, False])
def test_parties_without_weights_know_the_shape_that_is_run(folds: bool) -> None:
    for each in variants():
        config = variant(each.name, GPT2)
        shape, none = as_run(config, None, folds=folds)
        known, weights = as_run(config, paper.random_weights(config), folds=folds)
        assert none is None
        assert shape == known
        assert weights is not None
        assert {name: tuple(w.shape) for name, w in weights.items()} == weight_shapes(shape)
