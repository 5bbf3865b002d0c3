"""Published shapes by name are what the loader makes of their `config.json`."""

from __future__ import annotations

from typing import Any

import pytest

from mpcinfer.models.families.registry import FAMILIES
from mpcinfer.models.fields import Fields
from mpcinfer.models.published import published_shapes

_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def _blocks(layers: int, width: int, heads: int, hidden: int, kv_heads: int | None = None) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
        **({} if kv_heads is None else {"num_key_value_heads": kv_heads}),
    }


def _llama3(factor: float, **others: Any) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "rope_scaling": {**_LLAMA3_ROPE, "factor": factor},
        **others,
    }


def _qwen(kind: str, vocabulary: int, context: int, **others: Any) -> dict[str, Any]:
    return {
        "model_type": kind,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "rope_theta": 1000000.0,
        **others,
    }


_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama3.1-8b": ("Llama 3.1, 8B", _llama3(8.0, **_blocks(32, 4096, 32, 14336, 8))),
    "llama3.2-1b": (
        "Llama 3.2, 1B",
        _llama3(32.0, **_blocks(16, 2048, 32, 8192, 8), head_dim=64, tie_word_embeddings=True),
    ),
    "qwen2.5-0.5b": (
        "Qwen2.5, 0.5B",
        _qwen("qwen2", 151936, 32768, **_blocks(24, 896, 14, 4864, 2), tie_word_embeddings=True),
    ),
    "qwen2.5-1.5b": (
        "Qwen2.5, 1.5B",
        _qwen("qwen2", 151936, 131072, **_blocks(28, 1536, 12, 8960, 2), tie_word_embeddings=True),
    ),
    "qwen2.5-7b": ("Qwen2.5, 7B", _qwen("qwen2", 152064, 131072, **_blocks(28, 3584, 28, 18944, 4))),
    "qwen3-0.6b": (
        "Qwen3, 0.6B",
        _qwen(
            "qwen3", 151936, 40960, **_blocks(28, 1024, 16, 3072, 8), head_dim=128, tie_word_embeddings=True
        ),
    ),
    "gemma-2-2b": (
        "Gemma 2, 2B",
        {
            "model_type": "gemma2",
            **_blocks(26, 2304, 8, 9216, 4),
            "vocab_size": 256000,
            "max_position_embeddings": 8192,
            "head_dim": 256,
            "hidden_act": "gelu_pytorch_tanh",
        },
    ),
    "gemma-3-270m": (
        "Gemma 3, 270M",
        {
            "model_type": "gemma3_text",
            **_blocks(18, 640, 4, 2048, 1),
            "vocab_size": 262144,
            "max_position_embeddings": 32768,
            "head_dim": 256,
            "sliding_window": 512,
        },
    ),
    "pythia-160m": (
        "Pythia, 160M",
        {
            "model_type": "gpt_neox",
            **_blocks(12, 768, 12, 3072),
            "vocab_size": 50304,
            "max_position_embeddings": 2048,
        },
    ),
    "phi-2": (
        "Phi-2, 2.7B",
        {
            "model_type": "phi",
            **_blocks(32, 2560, 32, 10240),
            "vocab_size": 51200,
            "max_position_embeddings": 2048,
            "partial_rotary_factor": 0.4,
        },
    ),
}


@pytest.mark.parametrize("name", _SHAPES)
def test_a_published_shape_is_the_loaders(name: str) -> None:
    text, values = _SHAPES[name]
    family = FAMILIES[values["model_type"]]
    expected = family.config(family.settled(Fields(name, values)))
    assert published_shapes()[name] == (text, expected)


def test_every_one_is_checked() -> None:
    assert set(published_shapes()) == set(_SHAPES)
