"""Calibration: the numbers are those of the values, under the labels of the decoder."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tokenizers import pre_tokenizers

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.bpe import byte_level_bpe
from mpcinfer.models.config import AttentionForm, ModelConfig, weight_shapes
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import RecordingBackend, calibrate
from mpcinfer.models.stored_ranges import load_ranges, ranges_beside, save_ranges
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError, RangeError
from tests.mpcinfer.forms import LLAMA_FORM

BOUNDED = ("attn.qkv", "attn.mix", "ffn.in")
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENIZER = Tokenizer(
    backend=byte_level_bpe({text: index for index, text in enumerate(ALPHABET)}, [], pre="gpt-2")
)
GPT2 = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=256, context=16
)
LLAMA = ModelConfig(
    layers=2,
    width=16,
    heads=2,
    kv_heads=1,
    head_width=8,
    hidden=24,
    vocabulary=256,
    context=16,
    **LLAMA_FORM,
    tied_head=False,
)


def model_of(config: ModelConfig) -> Model:
    generator = torch.Generator().manual_seed(2)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in weight_shapes(config).items()}
    return Model(name="random", config=config, weights=weights, tokenizer=TOKENIZER)


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_recording_changes_nothing(config: ModelConfig) -> None:
    model = model_of(config)
    ids = torch.tensor([[1, 2, 3, 4]])
    recorded = Decoder(RecordingBackend(), config, model.weights).forward(ids, 4)
    assert torch.equal(recorded, Decoder(PlainBackend(), config, model.weights).forward(ids, 4))


def test_the_keys_of_a_gpt2() -> None:
    block = {
        "add",
        "norm1/variance_min",
        "norm1/variance_max",
        "norm1/normalised",
        "norm1/norm",
        "attn/scale",
        "attn.qkv/linear",
        "attn.scores/matmul",
        "attn.softmax/spread",
        "attn.softmax/denominator",
        "attn.softmax/attention_weights",
        "attn.mix/matmul",
        "attn.out/linear",
        "norm2/variance_min",
        "norm2/variance_max",
        "norm2/normalised",
        "norm2/norm",
        "ffn.in/linear",
        "ffn.gelu_tanh/in",
        "ffn.gelu_tanh/activation",
        "ffn.out/linear",
    }
    expected = {f"layer{i}{'/' if key == 'add' else '.'}{key}" for i in range(2) for key in block}
    ends = ("variance_min", "variance_max", "normalised", "norm")
    expected |= {"embedding/embed", "embedding/add_positions", "head.logits/head"}
    expected |= {f"head.norm/{end}" for end in ends}
    bounded = ("embedding", "head.logits", *(f"layer{i}.{end}" for i in range(2) for end in BOUNDED))
    expected |= {f"{label}/bound" for label in bounded}
    assert set(calibrate(model_of(GPT2), ["ab c"])) == expected


def test_a_llama_has_mean_squares_rope_and_products() -> None:
    keys = set(calibrate(model_of(LLAMA), ["ab c"]))
    assert {"layer1.norm2/mean_square_min", "layer0.attn/rope", "layer0.ffn.product/mul"} <= keys


def test_numbers_of_norms_and_softmax() -> None:
    """Worked by hand: four numbers, of which the second query sees all and the first one key."""
    backend = RecordingBackend()
    x = torch.tensor([[[3.0, 1.0], [-4.0, 0.0]]])
    with backend.span("a"), backend.span("b"):
        backend.norm(x, torch.tensor([2.0, 2.0]), None, "rmsnorm", 0.0)
    with backend.span("c"):
        backend.norm(x, None, None, "layernorm", 0.0)
    with backend.span("d"):
        backend.attention_weights(torch.tensor([[[[1.0, 900.0], [5.0, 2.0]]]]), 0, AttentionForm())
    expected = {
        "a.b/mean_square_min": 5.0,
        "a.b/mean_square_max": 8.0,
        "a.b/normalised": math.sqrt(2),
        "a.b/norm": 2 * math.sqrt(2),
        "c/variance_min": 1.0,
        "c/variance_max": 4.0,
        "c/normalised": 1.0,
        "c/norm": 1.0,
        "d/spread": 3.0,
        "d/denominator": 1 + math.exp(-3),
        "d/attention_weights": 1.0,
    }
    # A handful of float32 operations on numbers of order 1.
    assert backend.ranges == pytest.approx(expected, rel=8 * 2**-24)


def test_ranges_over_several_prompts_hold_for_each() -> None:
    model = model_of(LLAMA)
    together = calibrate(model, ["abc", "xyz 12", "q"])
    each = [calibrate(model, [prompt]) for prompt in ("abc", "xyz 12", "q")]
    for key, value in together.items():
        pick = min if key.endswith("_min") else max
        assert value == pick(ranges[key] for ranges in each)


def test_files_hold_what_was_seen_rounded_outward(tmp_path: Path) -> None:
    ranges = calibrate(model_of(LLAMA), ["abc"]) | {"a/in": 0.0, "a/x_min": 9.99996, "a/x_max": 9.99996}
    save_ranges(tmp_path / "ranges.json", ranges)
    loaded = load_ranges(tmp_path / "ranges.json")
    assert list(loaded) == list(ranges)
    for key, value in ranges.items():
        low, high = (value * (1 - 1e-4), value) if key.endswith("_min") else (value, value * (1 + 1e-4))
        assert low <= loaded[key] <= high, key


@pytest.mark.parametrize("content", ["", "[]", '{"a/in": "1"}', '{"a/in": -1}', '{"a/in": Infinity}'])
def test_files_that_hold_no_ranges_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"ranges\.json"):
        load_ranges(path)


@pytest.mark.parametrize("prompts", [[], [""], ["ab", ""], ["a" * 17]])
def test_prompts_that_cannot_be_run_are_refused(prompts: list[str]) -> None:
    with pytest.raises(ConfigError):
        calibrate(model_of(GPT2), prompts)


def test_overflow_is_named() -> None:
    model = model_of(LLAMA)
    model.weights["layer1.ffn.out.weight"][:] = 1e38  # type: ignore[index]
    with pytest.raises(RangeError, match=r"layer1\.ffn\.out/linear"):
        calibrate(model, ["abc"])


def test_ranges_lie_beside_the_model(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    assert ranges_beside(tmp_path) == ranges_beside(file) == {}
    save_ranges(tmp_path / "ranges.json", {"a/in": 1.0})
    save_ranges(tmp_path / "model.ranges.json", {"a/in": 2.0})
    assert ranges_beside(tmp_path) == {"a/in": 1.0}
    assert ranges_beside(file) == {"a/in": 2.0}
