"""First weights of every kind of shape, what decays, and taking weights over."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.static import static
from mpcinfer.training.losses import token_loss
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.trainer import TrainingState
from mpcinfer.training.weights import converted_weights, decays, initial_weights
from parties.errors import ConfigError

BASE = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=24, context=12
)
BARE = dataclasses.replace(BASE, block_norms=False, out_bias=False, ffn_bias=False, activation="identity")
SHAPES = {
    "SM": BARE,
    "SM+WNorm": dataclasses.replace(BARE, ffn_weights="weight_norm"),
    "SM+SNorm": dataclasses.replace(BARE, ffn_weights="spectral_norm"),
    "SM(t)+ScFuFFN_i1": dataclasses.replace(
        BARE, ffn="fused", scaled_ffn=True, temperature="head", pruned_ffns=1
    ),
    "SM(t_i)+ScFFN": dataclasses.replace(BARE, scaled_ffn=True, temperature="position"),
    "power4": dataclasses.replace(BASE, attention="power", attention_offset=True),
    "2quad": dataclasses.replace(BASE, attention="power", power=2, attention_shift=5.0),
    "relu": dataclasses.replace(BASE, attention="relu", final_norm=False),
}
TOKENS = torch.arange(39).view(3, 13) % 7


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_learns_and_every_weight_moves(name: str) -> None:
    recipe = Recipe(steps=12, batch=3, warmup=1, learning_rate=1e-2, precision="float32")
    state = TrainingState(SHAPES[name], recipe)
    before = {key: value.clone() for key, value in state.plain_weights().items()}
    losses = [state.advance(TOKENS[:, :-1], TOKENS[:, 1:]).loss for _ in range(recipe.steps)]
    # Weights this small give nearly equal logits, hence about ln(24) nats; one batch is learnt by heart.
    assert losses[0] == pytest.approx(math.log(24), abs=0.2)
    assert losses[-1] < losses[0] - 0.1
    moved = {key for key, value in state.plain_weights().items() if not torch.equal(value, before[key])}
    assert moved == set(before)


def test_scales_begin_where_the_recipe_says() -> None:
    weights = initial_weights(SHAPES["SM(t)+ScFuFFN_i1"], 0)
    assert weights["layer0.attn.log_temperature"].exp().tolist() == pytest.approx([0.01, 0.01])
    assert weights["layer0.ffn.alpha"].tolist() == weights["layer0.ffn.beta"].tolist() == [1.0]
    assert "layer1.ffn.alpha" not in weights
    recipe = Recipe(steps=1, first_temperature=0.1, first_alpha=2.0, first_beta=0.5, first_offset=3.0)
    other = initial_weights(SHAPES["SM(t)+ScFuFFN_i1"], 0, recipe)
    assert other["layer1.attn.log_temperature"].exp().tolist() == pytest.approx([0.1, 0.1])
    assert (other["layer0.ffn.alpha"].item(), other["layer0.ffn.beta"].item()) == (2.0, 0.5)
    assert initial_weights(SHAPES["power4"], 0, recipe)["layer1.attn.offset"].tolist() == [3.0, 3.0]
    softmax = dataclasses.replace(BASE, attention_offset=True)
    assert not initial_weights(softmax, 0)["layer0.attn.offset"].any()
    folded = dataclasses.replace(BASE, head_input=True)
    assert torch.equal(initial_weights(folded, 0)["head.input.weight"], torch.eye(16))


def test_weight_normalisation_begins_with_the_weights_of_none() -> None:
    plain, normed = initial_weights(BARE, 5), initial_weights(SHAPES["SM+WNorm"], 5)
    _, used = static(SHAPES["SM+WNorm"], normed)
    for name, weight in plain.items():
        # Divided by its norm and multiplied again: three roundings.
        assert torch.allclose(used[name], weight, rtol=2**-21, atol=0)


def test_decay_is_for_matrices_and_tables() -> None:
    kept: set[str] = set()
    for shape in SHAPES.values():
        weights = initial_weights(shape, 0)
        kept |= {name.rsplit(".", 1)[-1] for name, value in weights.items() if not decays(name, value.shape)}
        assert decays("layer0.attn.qkv.weight", weights["layer0.attn.qkv.weight"].shape)
    assert kept == {"bias", "weight", "log_temperature", "offset", "gain", "alpha", "beta"}  # norms' weights


def test_training_runs_on_static_weights() -> None:
    """A temperature as divisor of scores shows in the loss as the same change of queries does."""
    config = SHAPES["SM(t)+ScFuFFN_i1"]
    weights = initial_weights(config, 0, Recipe(steps=1, first_temperature=0.5))
    shape, used = static(config, weights)
    direct = token_loss(shape, used, TOKENS[:, :-1], TOKENS[:, 1:], "float32")
    assert torch.equal(direct, token_loss(config, weights, TOKENS[:, :-1], TOKENS[:, 1:], "float32"))


def test_calibrated_scales_are_not_trained() -> None:
    with pytest.raises(ConfigError, match="calibration after training"):
        TrainingState(dataclasses.replace(SHAPES["power4"], attention_scaled=True), Recipe(steps=1))


def test_conversion_keeps_what_fits_and_says_so() -> None:
    recipe = Recipe(steps=1, seed=9)
    earlier = {name: value + 1 for name, value in initial_weights(BASE, 0).items()}
    conversion = converted_weights(SHAPES["SM(t)+ScFuFFN_i1"], recipe, earlier)
    fresh = initial_weights(SHAPES["SM(t)+ScFuFFN_i1"], 9, recipe)
    assert set(conversion.kept) | set(conversion.fresh) == set(fresh)
    for name, value in conversion.weights.items():
        assert torch.equal(value, earlier[name] if name in conversion.kept else fresh[name])
    assert "layer1.attn.qkv.weight" in conversion.kept
    assert set(conversion.fresh) == {
        "layer0.attn.log_temperature",
        "layer1.attn.log_temperature",
        "layer0.ffn.out.weight",
        "layer0.ffn.alpha",
        "layer0.ffn.beta",
    }
    said = conversion.describe()
    assert f"{len(conversion.kept)} weights kept" in said
    assert "5 begun anew (attn.log_temperature, ffn.out.weight, ffn.alpha, ffn.beta)" in said
    assert "norm1.weight" in said.split("left behind")[1]


def test_nothing_to_convert() -> None:
    with pytest.raises(ConfigError, match="nothing to convert"):
        converted_weights(BASE, Recipe(steps=1), {"embed.tokens": torch.zeros(3, 3)})


def test_matrices_and_tables_begin_as_wide_as_the_recipe_says() -> None:
    usual = initial_weights(BASE, 0)
    recipe = Recipe(steps=1, first_embedding=0.2, first_positions=0.06, first_matrix=0.1)
    wider = initial_weights(BASE, 0, recipe)
    for name, factor in (("embed.tokens", 10), ("embed.positions", 3), ("layer1.ffn.out.weight", 5)):
        assert torch.allclose(wider[name], factor * usual[name]), name
    assert torch.equal(wider["layer0.norm1.weight"], usual["layer0.norm1.weight"])
    with pytest.raises(ConfigError, match="first_positions must be above 0"):
        Recipe(steps=1, first_positions=0.0)
    with pytest.raises(ConfigError, match="first_matrix must be above 0"):
        Recipe(steps=1, first_matrix=0.0)
