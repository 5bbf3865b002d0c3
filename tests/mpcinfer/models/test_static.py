"""Weights as used are the function that the papers' equations make of weights as trained."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.folded import static_config
from mpcinfer.models.static import static
from mpcinfer.models.variants import variant, variants
from tests.mpcinfer.models import paper

BASE = ModelConfig(
    layers=3, width=16, heads=2, kv_heads=2, head_width=8, hidden=24, vocabulary=40, context=12
)
IDS = [3, 1, 4, 1, 5, 9, 2]
OPEN = dataclasses.replace(BASE, final_norm=False, tied_head=False)
CONFIGS = {
    **{each.name: variant(each.name, BASE) for each in variants()},
    "power4+SM(t)+ScFuFFN_i1": variant("power4+SM(t)+ScFuFFN_i1", BASE),
    "SM+ScFFN_i2": variant("SM+ScFFN_i2", BASE),
    "SM(t)+ScFuFFN, no norm, own head": variant("SM(t)+ScFuFFN", OPEN),
    "SM+ScFFN with biases": dataclasses.replace(
        variant("SM+ScFFN", BASE), out_bias=True, ffn_bias=True, final_norm=False
    ),
    "weight-normalised ReLU, scaled": dataclasses.replace(
        variant("SM+ScFFN", BASE), activation="relu", ffn_weights="weight_norm", ffn_bias=True
    ),
    "GELU FFNs over spectral norms": dataclasses.replace(
        variant("SM+LN+G", BASE), ffn_weights="spectral_norm"
    ),
}
configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))


def ours(config: ModelConfig, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    backend = PlainBackend()
    return Decoder(backend, config, weights).forward(backend.tokens(IDS, len(IDS)), len(IDS))[0]


@configs
def test_a_variant_is_the_papers_function(config: ModelConfig) -> None:
    weights = paper.random_weights(config)
    used, static_weights = static(config, weights)
    assert used == static_config(config)
    assert {name: tuple(value.shape) for name, value in static_weights.items()} == weight_shapes(used)
    right = paper.logits(config, weights, IDS)
    assert float((ours(used, static_weights) - right).abs().max()) < 1e-9 * float(right.abs().max())


@pytest.mark.parametrize("kind", ["alpha", "beta", "log_temperature", "gain"])
def test_every_learned_number_matters_and_learns(kind: str) -> None:
    config = dataclasses.replace(variant("SM(t)+ScFuFFN", BASE), ffn_weights="weight_norm")
    weights = paper.random_weights(config)
    right = ours(*static(config, weights))
    for name in [name for name in weights if name.endswith(kind)]:
        changed = {**weights, name: weights[name] * 1.3}
        assert not torch.allclose(ours(*static(config, changed)), right)
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    ours(*static(config, leaves)).square().sum().backward()  # pyright: ignore[reportUnknownMemberType]
    for name, leaf in leaves.items():
        assert leaf.grad is not None, name
        assert bool(leaf.grad.abs().max() > 0), name


def test_what_needs_nothing_is_left_alone() -> None:
    config = variant("SM+LN+G", BASE)
    weights = paper.random_weights(config)
    used, same = static(config, weights)
    assert used == config
    assert all(same[name] is value for name, value in weights.items())
