"""Ranges that weights alone say: nothing exceeds them, and something comes near."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.known_ranges import require_known, widened
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import RecordingBackend, calibrate
from mpcinfer.models.static import static
from mpcinfer.suites.fss.widths import Widths
from parties.errors import RangeError
from tests.mpcinfer.forms import LLAMA_FORM
from tests.mpcinfer.three_parties import random_model

GPT2 = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=24, vocabulary=256, context=12
)
MODELS = {
    "gpt2": GPT2,
    "llama": dataclasses.replace(GPT2, **LLAMA_FORM, tied_head=False),
    "power4": dataclasses.replace(GPT2, attention="power", power=4, attention_epsilon=0.1),
    "scaled": dataclasses.replace(GPT2, attention="power", power=2, attention_scaled=True),
    "a bias of the head": dataclasses.replace(GPT2, tied_head=False, head_bias=True),
    "no norms": dataclasses.replace(GPT2, block_norms=False, activation="identity"),
}
models = pytest.mark.parametrize("config", MODELS.values(), ids=list(MODELS))


def wild(config: ModelConfig) -> Model:
    """Two tokens that prompts of letters do not have: one with a large row, one with a tiny one; and a large
    bias of the head, where it has one."""
    model = random_model(config)
    table = model.weights["embed.tokens"].clone()
    table[200] *= 8.0
    table[201] *= 0.05
    bias = {"head.bias": model.weights["head.bias"] + 50.0} if config.head_bias else {}
    model = dataclasses.replace(model, weights={**model.weights, "embed.tokens": table, **bias})
    return dataclasses.replace(model, ranges=calibrate(model, ["def f(x):", "return x + 1"]))


def seen(model: Model) -> dict[str, float]:
    """What every token shows at every position."""
    backend = RecordingBackend()
    decoder = Decoder(backend, *static(model.config, model.weights))
    context = model.config.context
    for token in range(model.config.vocabulary):
        ids = [(token + 31 * place) % model.config.vocabulary for place in range(context)]
        for turned in (ids, ids[context // 2 :] + ids[: context // 2]):
            decoder.forward(backend.tokens(turned, context), context)
    return backend.ranges


@models
def test_no_prompt_exceeds_what_is_known(config: ModelConfig) -> None:
    model = wild(config)
    everything, known = seen(model), model.ranges
    for label in [key.removesuffix("/bound") for key in known if key.endswith("/bound")]:
        outputs = ("linear", "matmul", "mul", "embed", "add_positions", "head")
        largest = max(everything.get(f"{label}/{output}", 0.0) for output in outputs)
        assert 0 < largest <= known[f"{label}/bound"] * (1 + 1e-5), label
    kind = "variance" if config.norm == "layernorm" else "mean_square"
    for key, value in everything.items():
        if key.endswith("/normalised") and config.block_norms:
            assert value <= known[key], key
        if key == f"layer0.norm1/{kind}_min":
            assert known[key] <= value * (1 + 1e-5)
        if key.endswith(f"/{kind}_max") and config.block_norms:
            assert value <= known[key] * (1 + 1e-5), key


def test_the_embedding_and_the_first_norm_are_exact() -> None:
    model = wild(MODELS["gpt2"])
    table, places = model.weights["embed.tokens"].double(), model.weights["embed.positions"].double()
    sums = (table[:, None] + places[None]).flatten(0, 1)
    squares = (sums - sums.mean(-1, keepdim=True)).square().mean(-1)
    assert model.ranges["embedding/embed"] == float(table.abs().max())
    assert model.ranges["embedding/add_positions"] == float(sums.abs().max())
    assert model.ranges["layer0.norm1/variance_min"] == pytest.approx(float(squares.min()), rel=1e-6)
    assert model.ranges["layer0.norm1/variance_max"] == pytest.approx(float(squares.max()), rel=1e-6)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_row_in_the_direction_of_a_column_reaches_its_bound(name: str) -> None:
    config = MODELS[name]
    model, backend = random_model(config), RecordingBackend()
    weights = {key: value.double() for key, value in model.weights.items()}
    gain, matrix = weights["layer0.norm1.weight"], weights["layer0.attn.qkv.weight"]
    bias = weights.get("layer0.attn.qkv.bias", torch.zeros(matrix.shape[1]).double())
    shift = weights.get("layer0.norm1.bias", torch.zeros(config.width).double())
    scaled, offset = gain[:, None] * matrix, shift @ matrix + bias
    scaled = scaled - scaled.mean(0) if config.norm == "layernorm" else scaled
    bound = math.sqrt(config.width) * scaled.square().sum(0).sqrt() + offset.abs()
    column = int(bound.argmax())
    row = 1e6 * scaled[:, column] * offset[column].sign().add(0.5).sign()
    normed = backend.norm(row[None], gain, weights.get("layer0.norm1.bias"), config.norm, config.norm_eps)
    reached = float(backend.linear(normed, matrix, bias)[0, column].abs())
    assert reached == pytest.approx(model.ranges["layer0.attn.qkv/bound"], rel=1e-6)


@models
def test_widening_again_changes_nothing(config: ModelConfig) -> None:
    model = wild(config)
    assert widened(model.config, model.weights, model.ranges) == pytest.approx(model.ranges, rel=1e-12)


@models
def test_no_linear_layer_is_wider_for_what_is_known_of_it(config: ModelConfig) -> None:
    """Bounds are taken where they are free: no more bits than a margin on what was seen.

    Divisors multiply outputs of power attention, which may pass a power of two then.
    """
    more = int(config.attention == "power")
    model = random_model(config)
    unbounded = {key: value for key, value in model.ranges.items() if not key.endswith("/bound")}
    known, usual = (Widths(config, ranges) for ranges in (model.ranges, unbounded))
    assert known.embedding_bits <= usual.embedding_bits
    assert known.head_bits <= usual.head_bits
    for layer in range(config.layers):
        assert known.attention(layer).mix_bits <= usual.attention(layer).mix_bits + more
        assert known.attention(layer).qkv_integer <= usual.attention(layer).qkv_integer
        assert known.ffn(layer).preactivation_bits <= usual.ffn(layer).preactivation_bits


def test_ranges_that_do_not_hold_a_token_are_refused() -> None:
    model = wild(GPT2)
    require_known("wild", model.config, model.weights, model.ranges)
    require_known("wild", model.config, model.weights, {})
    narrow = {**model.ranges, "embedding/embed": 0.97 * model.ranges["embedding/embed"]}
    with pytest.raises(RangeError, match=r"wild: .* token 200 has .*mpcinfer calibrate wild --prompts"):
        require_known("wild", model.config, model.weights, narrow)


def test_ranges_that_do_not_hold_a_position_are_refused() -> None:
    model = wild(GPT2)
    narrow = {**model.ranges, "embedding/add_positions": 0.97 * model.ranges["embedding/add_positions"]}
    with pytest.raises(RangeError, match=r"embedding/add_positions is at most .* row plus a position's has"):
        require_known("wild", model.config, model.weights, narrow)
