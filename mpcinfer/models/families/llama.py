"""Llama and what is a Llama with settings: Mistral, Qwen2, SmolLM3, Granite, Phi-3."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.families.family import Family, activation, head_width
from mpcinfer.models.families.folding import scale_embedding, scale_queries, scale_residual_writers
from mpcinfer.models.families.rope_keys import ROPE_DEFAULTS, RopeSettings, read_rope
from mpcinfer.models.families.window_keys import FULL, SLIDING, everywhere, switched
from mpcinfer.models.fields import Fields
from mpcinfer.models.layout import HUGGING_FACE, Layout, block_layout

SIZES = frozenset(
    {
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "max_position_embeddings",
    }
)
DEFAULTS: dict[str, Any] = {
    **ROPE_DEFAULTS,
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
WHOLE_HEADS: dict[str, tuple[Any, ...]] = {"partial_rotary_factor": (1.0,)}
_BIASED = {"attention_bias": False, "mlp_bias": False}


def llama_config(
    fields: Fields, rope: RopeSettings, *, eps: str = "rms_norm_eps", **others: Any
) -> ModelConfig:
    """The shape that the family's common keys state, and others of its fields.

    Args:
        eps: the key of what norms add.
    """
    width, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    form: dict[str, Any] = {
        "layers": fields.integer("num_hidden_layers"),
        "width": width,
        "heads": heads,
        "kv_heads": fields.integer("num_key_value_heads", heads),
        "head_width": size_of_head(fields),
        "hidden": fields.integer("intermediate_size"),
        "vocabulary": fields.integer("vocab_size"),
        "context": rope.longest or fields.integer("max_position_embeddings"),
        "norm": "rmsnorm",
        "norm_eps": fields.number(eps),
        "activation": others.get("activation") or activation(fields, "hidden_act"),
        "ffn": "glu",
        "positions": "rope",
        "rope_base": rope.base,
        "rope_width": 0 if rope.width == size_of_head(fields) else rope.width,
        "rope_divisors": rope.divisors,
        "qkv_bias": False,
        "out_bias": False,
        "ffn_bias": False,
        "tied_head": fields.flag("tie_word_embeddings", False),
    }
    return ModelConfig(**{**form, **others})


def size_of_head(fields: Fields) -> int:
    """`head_dim`, or width over heads."""
    width, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    stated = fields.integer("head_dim", 0)
    return stated or head_width(fields, "num_attention_heads", width, heads)


def turned_layout(layout: Layout, config: ModelConfig, rope: RopeSettings) -> Layout:
    """A layout with YaRN's factor on the queries."""
    return scale_queries(layout, config, lambda layer: rope.factor**2, rope.width)


def _rope(fields: Fields) -> RopeSettings:
    return read_rope(fields, size_of_head(fields))


def _config(fields: Fields) -> ModelConfig:
    biased = fields.flag("attention_bias", False)
    return llama_config(
        fields, _rope(fields), qkv_bias=biased, out_bias=biased, ffn_bias=fields.flag("mlp_bias", False)
    )


def _layout(fields: Fields, config: ModelConfig) -> Layout:
    return turned_layout(block_layout(config, HUGGING_FACE), config, _rope(fields))


LLAMA = Family(
    model_type="llama",
    config=_config,
    layout=_layout,
    prefix="model.",
    sizes=SIZES,
    defaults={**DEFAULTS, **_BIASED},
    only=WHOLE_HEADS,
)


def _mistral_config(fields: Fields) -> ModelConfig:
    return llama_config(fields, _rope(fields), windows=everywhere(fields))


MISTRAL = dataclasses.replace(
    LLAMA,
    model_type="mistral",
    config=_mistral_config,
    defaults={**DEFAULTS, "num_key_value_heads": 8, "sliding_window": 4096},
)


def qwen_windows(fields: Fields) -> tuple[int, ...]:
    """The deepest layers have windows, where `layer_types` says nothing else."""
    first = fields.integer("max_window_layers", 28)
    layers = range(fields.integer("num_hidden_layers"))
    return switched(fields, [SLIDING if layer >= first else FULL for layer in layers])


def _qwen2_config(fields: Fields) -> ModelConfig:
    return llama_config(fields, _rope(fields), qkv_bias=True, windows=qwen_windows(fields))


QWEN_WINDOWS: dict[str, Any] = {
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
}
QWEN2 = dataclasses.replace(
    LLAMA,
    model_type="qwen2",
    config=_qwen2_config,
    defaults={**DEFAULTS, "num_key_value_heads": 32, **QWEN_WINDOWS},
    # A multimodal relative's, which the text model does not read.
    meaningless=frozenset({"use_mrope"}),
)


def _smollm3_config(fields: Fields) -> ModelConfig:
    layers = fields.integer("num_hidden_layers")
    turned: Any = fields.values.get("no_rope_layers")
    if turned is None:
        interval = fields.integer("no_rope_layer_interval")
        turned = [int((layer + 1) % interval != 0) for layer in range(layers)]
    if not isinstance(turned, list) or len(cast("list[Any]", turned)) != layers:
        raise fields.refuse("no_rope_layers", f"expected a list of {layers} numbers")
    unrotated = tuple(layer for layer in range(layers) if not turned[layer])
    windows = switched(fields, [SLIDING if layer in unrotated else FULL for layer in range(layers)])
    return dataclasses.replace(_config(fields), unrotated=unrotated, windows=windows)


def _smollm3_layout(fields: Fields, config: ModelConfig) -> Layout:
    layout, rope = block_layout(config, HUGGING_FACE), _rope(fields)
    factors = [1.0 if layer in config.unrotated else rope.factor**2 for layer in range(config.layers)]
    return scale_queries(layout, config, lambda layer: factors[layer], rope.width)


SMOLLM3 = dataclasses.replace(
    LLAMA,
    model_type="smollm3",
    config=_smollm3_config,
    layout=_smollm3_layout,
    defaults={
        **DEFAULTS,
        **_BIASED,
        "num_key_value_heads": 4,
        "tie_word_embeddings": True,
        "no_rope_layers": None,
        "no_rope_layer_interval": 4,
        "use_sliding_window": False,
        "sliding_window": None,
        "layer_types": None,
    },
    meaningless=frozenset({"max_window_layers"}),
)


def _granite_layout(fields: Fields, config: ModelConfig) -> Layout:
    layout = _layout(fields, config)
    scores = fields.number("attention_multiplier") * config.head_width**0.5
    layout = scale_queries(layout, config, lambda layer: scores)
    layout = scale_residual_writers(layout, config, fields.number("residual_multiplier"))
    embedding, logits = fields.number("embedding_multiplier"), fields.number("logits_scaling")
    return scale_embedding(layout, config, embedding, 1.0 / logits)


GRANITE = dataclasses.replace(
    LLAMA,
    model_type="granite",
    layout=_granite_layout,
    defaults={
        **DEFAULTS,
        **_BIASED,
        "embedding_multiplier": 1.0,
        "logits_scaling": 1.0,
        "residual_multiplier": 1.0,
        "attention_multiplier": 1.0,
    },
    classifier=None,
)


_PHI3_NAMES = dataclasses.replace(HUGGING_FACE, qkv=("self_attn.qkv_proj",), ffn_in=("mlp.gate_up_proj",))


def _phi3_rope(fields: Fields) -> RopeSettings:
    return read_rope(
        fields,
        size_of_head(fields),
        turns_in_part=True,
        kinds=("default", "longrope"),
        older={"su": "longrope", "yarn": "longrope"},
    )


def _phi3_config(fields: Fields) -> ModelConfig:
    return llama_config(fields, _phi3_rope(fields), windows=everywhere(fields))


def _phi3_layout(fields: Fields, config: ModelConfig) -> Layout:
    return turned_layout(block_layout(config, _PHI3_NAMES), config, _phi3_rope(fields))


PHI3 = dataclasses.replace(
    LLAMA,
    model_type="phi3",
    config=_phi3_config,
    layout=_phi3_layout,
    defaults={
        **DEFAULTS,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "sliding_window": None,
        "partial_rotary_factor": None,
    },
    only={},
)


_QK_NORMS = {"attn.q_norm": "self_attn.q_norm", "attn.k_norm": "self_attn.k_norm"}
_QWEN3_NAMES = dataclasses.replace(HUGGING_FACE, inner_norms=_QK_NORMS)


def _qwen3_config(fields: Fields) -> ModelConfig:
    return dataclasses.replace(_config(fields), qk_norm=True, windows=qwen_windows(fields))


def _qwen3_layout(fields: Fields, config: ModelConfig) -> Layout:
    return turned_layout(block_layout(config, _QWEN3_NAMES), config, _rope(fields))


QWEN3 = dataclasses.replace(
    LLAMA,
    model_type="qwen3",
    config=_qwen3_config,
    layout=_qwen3_layout,
    defaults={
        **DEFAULTS,
        **QWEN_WINDOWS,
        "num_key_value_heads": 32,
        "head_dim": 128,
        "attention_bias": False,
    },
)
