"""Every architecture of GGUF against the same weights as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from mpcinfer.models.gguf import load_gguf
from mpcinfer.models.gguf_architectures import ARCHITECTURES, gguf_config
from mpcinfer.models.gguf_file import GgufFile
from mpcinfer.models.huggingface import load_huggingface
from parties.errors import ConfigError
from tests.mpcinfer.models.family_cases import IDS, logits_of
from tests.mpcinfer.models.gguf_files import MODEL_TYPES, both, save_gguf

# Both in float32, and factors of RoPE in a file are float32 numbers: see `test_huggingface`.
TOLERANCE = 1e-4
PLAIN = {"rope_type": "default", "rope_theta": 500.0}
LINEAR = {"rope_type": "linear", "rope_theta": 500.0, "factor": 3.0}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 500.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 8.0,
    "beta_slow": 0.5,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 500.0,
    "short_factor": [1.0, 1.5, 2.0, 4.0],
    "long_factor": [1.0, 6.0, 20.0, 60.0],
}
_SCALINGS = {"plain": PLAIN, "linear": LINEAR, "yarn": YARN}
_GEMMA: dict[str, Any] = {"head_dim": 16, "attention_bias": False, "tie_word_embeddings": True}
_GEMMA2 = {
    **_GEMMA,
    "query_pre_attn_scalar": 16,
    "sliding_window": 5,
    "num_hidden_layers": 3,
    "layer_types": None,
}
_GEMMA3_ROPE = {"full_attention": LINEAR, "sliding_attention": {**PLAIN, "rope_theta": 50.0}}
_GEMMA3 = {
    **{key: value for key, value in _GEMMA2.items() if key != "layer_types"},
    "num_hidden_layers": 7,
    "layer_types": ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"],
    "rope_parameters": _GEMMA3_ROPE,
    "final_logit_softcapping": 3.0,
}
_NEOX = {"num_hidden_layers": 2, "hidden_act": "gelu"}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"llama, {name}": ("llama", {"rope_parameters": rope}) for name, rope in _SCALINGS.items()},
    **{
        f"qwen2, {name}": (
            "qwen2",
            {"rope_parameters": rope, "use_sliding_window": False, "layer_types": None},
        )
        for name, rope in _SCALINGS.items()
    },
    "gemma": ("gemma", {**_GEMMA, "rope_parameters": PLAIN}),
    "gemma2": (
        "gemma2",
        {**_GEMMA2, "rope_parameters": PLAIN, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.0},
    ),
    "gemma3": ("gemma3", _GEMMA3),
    "phi3": ("phi3", {"rope_parameters": PLAIN | {"partial_rotary_factor": 0.5}, "sliding_window": 11}),
    "phi3, longrope": (
        "phi3",
        {"rope_parameters": LONGROPE | {"partial_rotary_factor": 1.0}, "sliding_window": None},
    ),
    "gptneox, parallel": (
        "gptneox",
        {**_NEOX, "rope_parameters": PLAIN | {"partial_rotary_factor": 0.25}, "use_parallel_residual": True},
    ),
    "gptneox, one after the other": (
        "gptneox",
        {**_NEOX, "rope_parameters": LINEAR | {"partial_rotary_factor": 0.5}, "use_parallel_residual": False},
    ),
}


@pytest.fixture(autouse=True)
def _quiet_transformers() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def test_every_architecture_is_compared() -> None:
    compared = {architecture for architecture, _ in MODELS.values()}
    assert compared == set(MODEL_TYPES)
    assert set(ARCHITECTURES) - compared == {"qwen3"}  # in test_gguf


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_folder(name: str, tmp_path: Path) -> None:
    architecture, settings = MODELS[name]
    ours = load_gguf(both(tmp_path, architecture, **settings))
    expected = logits_of(load_huggingface(tmp_path), IDS)
    assert float(expected.std()) > 0.1
    assert float((logits_of(ours, IDS) - expected).abs().max()) < TOLERANCE


@pytest.mark.parametrize(("architecture", "layers"), [("gemma2", 46), ("gemma3", 62)])
def test_the_largest_gemmas_have_another_scale_of_scores(
    architecture: str, layers: int, tmp_path: Path
) -> None:
    """llama.cpp knows them by their layers: files do not say."""
    settings: dict[str, Any] = {
        **_GEMMA,
        "num_hidden_layers": layers,
        "intermediate_size": 8,
        "query_pre_attn_scalar": 8,  # 32 / 4, not the head's 16
        "sliding_window": 64,
    }
    if architecture == "gemma2":
        settings |= {"layer_types": None, "rope_parameters": PLAIN}
        settings |= {"attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.0}
    else:
        kinds = ["full_attention" if (layer + 1) % 6 == 0 else "sliding_attention" for layer in range(layers)]
        settings |= {"layer_types": kinds, "rope_parameters": _GEMMA3_ROPE}
    ours = load_gguf(both(tmp_path, architecture, **settings))
    expected = load_huggingface(tmp_path)
    queries = f"layer0.attn.{'qkv' if architecture == 'gemma2' else 'q_norm'}.weight"
    assert np.allclose(ours.weights[queries], expected.weights[queries], rtol=1e-6)
    assert ours.config == expected.config


FIELDS: dict[str, Any] = {
    "block_count": 2,
    "context_length": 32,
    "embedding_length": 32,
    "feed_forward_length": 24,
    "attention.head_count": 4,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.layer_norm_epsilon": 1e-5,
}


def config_of(folder: Path, architecture: str, **fields: Any) -> Any:
    stated = {key.replace("__", "."): value for key, value in fields.items()}
    return gguf_config(GgufFile(save_gguf(folder / "m.gguf", architecture, {**FIELDS, **stated}, {})))


def test_what_gemma2_is_where_a_file_does_not_say(tmp_path: Path) -> None:
    config = config_of(tmp_path, "gemma2", context_length=8192, attention__sliding_window=100)
    assert (config.windows, config.score_cap, config.logit_cap) == ((100, 0), 50.0, 30.0)
    assert config_of(tmp_path, "gemma2", context_length=8192).windows == (4096, 0)
    assert config_of(tmp_path, "gemma2").windows == ()


def test_which_layers_of_gemma3_have_windows(tmp_path: Path) -> None:
    windowed = {"attention__sliding_window": 5, "block_count": 7}
    config = config_of(tmp_path, "gemma3", **windowed)
    assert (config.windows, config.local_rope_layers) == ((5, 5, 5, 5, 5, 0, 5), (0, 1, 2, 3, 4, 6))
    config = config_of(tmp_path, "gemma3", **windowed, attention__sliding_window_pattern=2)
    assert config.local_rope_layers == (0, 2, 4, 6)
    flags = [True, False, False, True, False, False, False]
    config = config_of(tmp_path, "gemma3", **windowed, attention__sliding_window_pattern=flags)
    assert (config.windows, config.local_rope_layers) == ((5, 0, 0, 5, 0, 0, 0), (0, 3))
    config = config_of(tmp_path, "gemma3", block_count=7)
    assert (config.windows, config.local_rope_layers) == ((), ())


def test_a_factor_without_a_type_is_linear(tmp_path: Path) -> None:
    for fields in ({"rope__scaling__factor": 2.0}, {"rope__scale_linear": 2.0}):
        assert config_of(tmp_path, "llama", **fields).rope_divisors == (2.0,) * 4
    for kind in ("none", "linear", "yarn"):
        assert config_of(tmp_path, "llama", rope__scaling__type=kind).rope_divisors == ()


@pytest.mark.parametrize(
    ("architecture", "fields", "named"),
    [
        (
            "gemma3",
            {"attention__sliding_window": 5, "attention__sliding_window_pattern": [True]},
            "window_pattern",
        ),
        ("llama", {"rope__scaling__type": "longrope", "rope__scaling__factor": 2.0}, "rope.scaling.type"),
        ("llama", {"rope__scaling__attn_factor": 1.5}, "rope.scaling.attn_factor"),
        ("llama", {"rope__scaling__yarn_attn_factor": 1.5}, "yarn_attn_factor"),
        ("llama", {"rope__scaling__factor": "two"}, "rope.scaling.factor"),
        ("llama", {"attention__sliding_window": 5}, "attention.sliding_window"),
        ("gemma2", {"attn_logit_softcapping": -1.0}, "score_cap"),
        ("gptneox", {"use_parallel_residual": 1}, "use_parallel_residual"),
        ("phi3", {"rope__dimension_count": 10}, "RoPE needs an even width"),
        ("gemma", {"rope__dimension_count": 4}, "rope.dimension_count"),
        ("llama", {"attention__head_count": 0}, "head_count"),
    ],
)
def test_what_cannot_be_represented_is_refused_by_name(
    architecture: str, fields: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=named):
        config_of(tmp_path, architecture, **fields)


def test_factors_beside_a_scaling_are_refused(tmp_path: Path) -> None:
    tensors = {"rope_freqs.weight": np.ones(4, np.float32)}
    fields = {**FIELDS, "rope.scaling.factor": 2.0}
    with pytest.raises(ConfigError, match=r"rope_freqs\.weight"):
        gguf_config(GgufFile(save_gguf(tmp_path / "m.gguf", "llama", fields, tensors)))
