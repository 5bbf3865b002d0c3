"""Shapes of published models of the families beyond GPT-2 and Llama 2; a test holds them to the loader."""

from __future__ import annotations

import dataclasses

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.families.rope_keys import read_rope
from mpcinfer.models.fields import Fields


def _llama3_divisors(factor: float, head_width: int) -> tuple[float, ...]:
    scaling = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    fields = Fields("llama3", {"max_position_embeddings": 131072, "rope_scaling": scaling})
    return read_rope(fields, head_width).divisors


def gated(
    layers: int, width: int, heads: int, kv_heads: int, hidden: int, *, vocabulary: int, context: int
) -> ModelConfig:
    """RMS norms, RoPE, a gated unit, no biases: what the Llama family has in common."""
    return ModelConfig(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_width=width // heads,
        hidden=hidden,
        vocabulary=vocabulary,
        context=context,
        norm="rmsnorm",
        norm_eps=1e-6,
        activation="silu",
        ffn="glu",
        positions="rope",
        rope_base=1000000.0,
        qkv_bias=False,
        out_bias=False,
        ffn_bias=False,
    )


def _llama3(layers: int, width: int, heads: int, hidden: int, factor: float, *, tied: bool) -> ModelConfig:
    base = gated(layers, width, heads, 8, hidden, vocabulary=128256, context=131072)
    divisors = _llama3_divisors(factor, base.head_width)
    return dataclasses.replace(
        base, norm_eps=1e-5, rope_base=500000.0, rope_divisors=divisors, tied_head=tied
    )


def _qwen2(layers: int, width: int, heads: int, kv_heads: int, hidden: int, context: int) -> ModelConfig:
    base = gated(layers, width, heads, kv_heads, hidden, vocabulary=151936, context=context)
    return dataclasses.replace(base, qkv_bias=True)


def _gemma2_2b() -> ModelConfig:
    return dataclasses.replace(
        gated(26, 2304, 8, 4, 9216, vocabulary=256000, context=8192),
        head_width=256,
        activation="gelu_tanh",
        rope_base=10000.0,
        post_norms=True,
        windows=tuple(0 if layer % 2 else 4096 for layer in range(26)),
        score_cap=50.0,
        logit_cap=30.0,
    )


def _gemma3_270m() -> ModelConfig:
    local = tuple(layer for layer in range(18) if (layer + 1) % 6)
    return dataclasses.replace(
        gated(18, 640, 4, 1, 2048, vocabulary=262144, context=32768),
        head_width=256,
        activation="gelu_tanh",
        qk_norm=True,
        post_norms=True,
        windows=tuple(512 if layer in local else 0 for layer in range(18)),
        local_rope_base=10000.0,
        local_rope_layers=local,
    )


def _parallel(layers: int, width: int, heads: int, vocabulary: int, turned: int) -> ModelConfig:
    """GPT-NeoX; what Phi has otherwise is its own."""
    return ModelConfig(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        hidden=4 * width,
        vocabulary=vocabulary,
        context=2048,
        activation="gelu",
        parallel=True,
        positions="rope",
        rope_width=turned,
        tied_head=False,
    )


def published_shapes() -> dict[str, tuple[str, ModelConfig]]:
    """What each is, and its shape, by name."""
    return {
        "llama3.1-8b": ("Llama 3.1, 8B", _llama3(32, 4096, 32, 14336, 8.0, tied=False)),
        "llama3.2-1b": ("Llama 3.2, 1B", _llama3(16, 2048, 32, 8192, 32.0, tied=True)),
        "qwen2.5-0.5b": ("Qwen2.5, 0.5B", _qwen2(24, 896, 14, 2, 4864, 32768)),
        "qwen2.5-1.5b": ("Qwen2.5, 1.5B", _qwen2(28, 1536, 12, 2, 8960, 131072)),
        "qwen2.5-7b": (
            "Qwen2.5, 7B",
            dataclasses.replace(_qwen2(28, 3584, 28, 4, 18944, 131072), vocabulary=152064, tied_head=False),
        ),
        "qwen3-0.6b": (
            "Qwen3, 0.6B",
            dataclasses.replace(
                gated(28, 1024, 16, 8, 3072, vocabulary=151936, context=40960), head_width=128, qk_norm=True
            ),
        ),
        "gemma-2-2b": ("Gemma 2, 2B", _gemma2_2b()),
        "gemma-3-270m": ("Gemma 3, 270M", _gemma3_270m()),
        "pythia-160m": ("Pythia, 160M", _parallel(12, 768, 12, 50304, 16)),
        "phi-2": (
            "Phi-2, 2.7B",
            dataclasses.replace(_parallel(32, 2560, 32, 51200, 32), activation="gelu_tanh", head_bias=True),
        ),
    }
