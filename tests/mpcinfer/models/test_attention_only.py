"""Linear FFNs folded away: the same function, without them; and the fallback where a basis is bad."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.attention_only import (
    LARGEST_CONDITION,
    attention_only_config,
    condition_number,
    fold_attention_only,
)
from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.static import static
from mpcinfer.models.variants import variant
from parties.errors import ConfigError
from tests.mpcinfer.models import paper

BASE = ModelConfig(
    layers=4, width=16, heads=2, kv_heads=2, head_width=8, hidden=24, vocabulary=40, context=12
)
IDS = [3, 1, 4, 1, 5, 9, 2]
FUSED = variant("SM+ScFuFFN", BASE)
CONFIGS = {
    "SM+ScFuFFN": FUSED,
    "no final norm": dataclasses.replace(FUSED, final_norm=False),
    "own head": dataclasses.replace(FUSED, tied_head=False),
    "own head, no final norm": dataclasses.replace(FUSED, tied_head=False, final_norm=False),
    "FFN biases": dataclasses.replace(FUSED, ffn_bias=True),
    "all biases": dataclasses.replace(FUSED, ffn_bias=True, out_bias=True, final_norm=False),
    "biases and pruned": dataclasses.replace(variant("SM+ScFuFFN_i2", BASE), ffn_bias=True),
    "SM(t)": variant("EReg(SM(t)+ScFuFFN)", BASE),
    "by position": variant("SM(t_i)+ScFuFFN", BASE),
    "two linear matrices": variant("SM+ScFFN", BASE),
    "weight norm, plain residual": variant("SM+WNorm", BASE),
    "spectral norm": dataclasses.replace(variant("SM+SNorm", BASE), ffn_bias=True),
    "power": variant("power4+SM+ScFuFFN", BASE),
}
configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))


def run(config: ModelConfig, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    backend = PlainBackend()
    return Decoder(backend, config, weights).forward(backend.tokens(IDS, len(IDS)), len(IDS))[0]


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return float((a - b).abs().max()) < 1e-9 * float(b.abs().max())


@configs
def test_folded_is_unfolded_is_the_papers_function(config: ModelConfig) -> None:
    weights = paper.random_weights(config)
    folded = fold_attention_only(config, weights, largest_condition=math.inf)
    assert folded.kept == 0
    assert folded.config == attention_only_config(config)
    assert {name: tuple(value.shape) for name, value in folded.weights.items()} == weight_shapes(
        folded.config
    )
    assert not [name for name in folded.weights if ".ffn." in name]
    assert all(value.dtype == torch.float64 for value in folded.weights.values())
    right = paper.logits(config, weights, IDS)
    assert near(run(folded.config, folded.weights), right)
    assert near(run(*static(config, weights)), right)
    assert near(run(*fold(config, weights)), right)


@configs
@pytest.mark.parametrize("kept", [1, 2, 3])
def test_so_is_a_model_that_keeps_its_first_ffns(config: ModelConfig, kept: int) -> None:
    weights = paper.random_weights(config)
    full = fold_attention_only(config, weights, largest_condition=math.inf)
    limit = _limit_that_keeps(config, weights, kept)
    folded = fold_attention_only(config, weights, largest_condition=limit)
    kept = min(kept, config.layers - config.pruned_ffns)
    assert folded.kept == kept
    assert folded.config == attention_only_config(config, kept)
    assert max(folded.conditions) <= limit < max(full.conditions)
    layers = {int(name.split(".")[0][5:]) for name in folded.weights if ".ffn." in name}
    assert layers == set(range(kept))
    assert near(run(folded.config, folded.weights), paper.logits(config, weights, IDS))


def _limit_that_keeps(config: ModelConfig, weights: dict[str, torch.Tensor], kept: int) -> float:
    """The worst condition of the bases that begin at a layer, of the fused FFNs themselves."""
    shape, fused = fold(config, weights)
    basis, worst = torch.eye(shape.width, dtype=torch.float64), 1.0
    for layer in range(kept, shape.layers):
        if shape.has_ffn(layer):
            basis = basis + basis @ fused[f"layer{layer}.ffn.out.weight"]
        worst = max(worst, condition_number(basis))
    return worst


def test_conditions_are_those_of_the_bases_by_their_definition() -> None:
    config, weights = FUSED, paper.random_weights(FUSED)
    folded = fold_attention_only(config, weights, largest_condition=math.inf)
    basis, expected = torch.eye(16, dtype=torch.float64), [1.0]
    for layer in range(config.layers):
        matrix = weights[f"layer{layer}.ffn.out.weight"]
        alpha, beta = weights[f"layer{layer}.ffn.alpha"], weights[f"layer{layer}.ffn.beta"]
        basis = basis @ (beta * torch.eye(16) + matrix / alpha)
        expected.append(_stretch(basis) * _stretch(basis.inverse()))
    assert folded.conditions == pytest.approx(expected, rel=1e-6)


def _stretch(matrix: torch.Tensor) -> float:
    """How much longer a row can get: by power iteration, whose limit it is."""
    row, length = torch.ones(1, len(matrix), dtype=torch.float64), 1.0
    for _ in range(20_000):
        row = row / length @ matrix @ matrix.T
        length = float(row.square().sum()) ** 0.5
    return length**0.5


def test_a_singular_ffn_is_kept() -> None:
    """beta x + FFN(x) / alpha = 0 for some x: no basis."""
    weights = paper.random_weights(FUSED)
    alpha, beta = weights["layer1.ffn.alpha"], weights["layer1.ffn.beta"]
    matrix = weights["layer1.ffn.out.weight"].clone()
    matrix[0] = 0.0
    matrix[0, 0] = -float(alpha * beta)
    weights["layer1.ffn.out.weight"] = matrix
    folded = fold_attention_only(FUSED, weights)
    assert folded.kept == 2
    assert max(folded.conditions) <= LARGEST_CONDITION
    assert near(run(folded.config, folded.weights), paper.logits(FUSED, weights, IDS))


def test_models_without_ffns_stay_as_they_are() -> None:
    config = attention_only_config(FUSED)
    weights = paper.random_weights(config)
    again = fold_attention_only(config, weights)
    assert again.config == config
    assert all(torch.equal(again.weights[name], value) for name, value in weights.items())
    assert set(again.conditions) == {1.0}


@pytest.mark.parametrize(("name", "why"), [("SM+LN", "norms"), ("SM+G", "gelu_tanh"), ("SM+R", "relu")])
def test_models_that_are_more_than_attention_are_refused(name: str, why: str) -> None:
    config = variant(name, BASE)
    with pytest.raises(ConfigError, match=why):
        attention_only_config(config)
    with pytest.raises(ConfigError, match=why):
        fold_attention_only(config, paper.random_weights(config))


def test_limits_that_nothing_keeps_are_refused() -> None:
    with pytest.raises(ConfigError, match="below 1"):
        fold_attention_only(FUSED, paper.random_weights(FUSED), largest_condition=0.5)
