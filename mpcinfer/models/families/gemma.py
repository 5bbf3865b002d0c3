"""Gemma 1 to 3: gains stored less one, token rows times the root of the width, GELU in a gated unit."""

from __future__ import annotations

import dataclasses
import math

from mpcinfer.models.config import ActivationKind, ModelConfig
from mpcinfer.models.families.family import Family, activation
from mpcinfer.models.families.folding import add_one_to_norms, scale_embedding, scale_queries
from mpcinfer.models.families.llama import (
    DEFAULTS,
    SIZES,
    WHOLE_HEADS,
    llama_config,
    size_of_head,
    turned_layout,
)
from mpcinfer.models.families.rope_keys import RopeSettings, read_rope
from mpcinfer.models.families.window_keys import FULL, SLIDING, layer_types, windows_of
from mpcinfer.models.fields import Fields
from mpcinfer.models.layout import HUGGING_FACE, Layout, block_layout


def _rope(fields: Fields) -> RopeSettings:
    return read_rope(fields, size_of_head(fields))


def _activation(fields: Fields) -> ActivationKind:
    """`gelu` is an old name for the form with tanh, in this family alone."""
    return "gelu_tanh" if fields.text("hidden_act") == "gelu" else activation(fields, "hidden_act")


def _config(fields: Fields) -> ModelConfig:
    biased = fields.flag("attention_bias", False)
    return llama_config(
        fields, _rope(fields), activation=_activation(fields), qkv_bias=biased, out_bias=biased
    )


def _layout(fields: Fields, config: ModelConfig) -> Layout:
    layout = add_one_to_norms(block_layout(config, HUGGING_FACE))
    layout = scale_embedding(layout, config, config.width**0.5)
    return turned_layout(layout, config, _rope(fields))


GEMMA = Family(
    model_type="gemma",
    config=_config,
    layout=_layout,
    prefix="model.",
    sizes=SIZES,
    defaults={
        **DEFAULTS,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "attention_bias": False,
        "tie_word_embeddings": True,
    },
    only={**WHOLE_HEADS, "use_bidirectional_attention": (False,)},
    # Gemma 1 never read it: transformers takes `hidden_act`.
    meaningless=frozenset({"hidden_activation"}),
)


_POST_NORMS = {"attn.post": "post_attention_layernorm", "ffn.post": "post_feedforward_layernorm"}
_GEMMA2_NAMES = dataclasses.replace(HUGGING_FACE, norm2="pre_feedforward_layernorm", inner_norms=_POST_NORMS)
_GEMMA3_NAMES = dataclasses.replace(
    _GEMMA2_NAMES,
    inner_norms={"attn.q_norm": "self_attn.q_norm", "attn.k_norm": "self_attn.k_norm", **_POST_NORMS},
)


def _scaled_scores(layout: Layout, fields: Fields, config: ModelConfig) -> Layout:
    """Scores over the root of `query_pre_attn_scalar` instead of that of a head's width."""
    scores = (config.head_width / fields.number("query_pre_attn_scalar")) ** 0.5
    return scale_queries(layout, config, lambda layer: scores)


def _cap(fields: Fields, key: str) -> float:
    """A softcap; 0 for none, where it is null."""
    cap = fields.number(key, 0.0)
    if fields.values.get(key) is not None and not 0 < cap < math.inf:
        raise fields.refuse(key, "expected a number above 0, or null for no cap")
    return cap


def _gemma2_config(fields: Fields) -> ModelConfig:
    layers, biased = fields.integer("num_hidden_layers"), fields.flag("attention_bias", False)
    kinds = layer_types(fields) or [FULL if layer % 2 else SLIDING for layer in range(layers)]
    return llama_config(
        fields,
        _rope(fields),
        activation=activation(fields, "hidden_activation"),
        qkv_bias=biased,
        out_bias=biased,
        post_norms=True,
        windows=windows_of(fields, kinds),
        score_cap=_cap(fields, "attn_logit_softcapping"),
        logit_cap=_cap(fields, "final_logit_softcapping"),
    )


def _gemma2_layout(fields: Fields, config: ModelConfig) -> Layout:
    layout = add_one_to_norms(block_layout(config, _GEMMA2_NAMES))
    layout = scale_embedding(layout, config, config.width**0.5)
    return turned_layout(_scaled_scores(layout, fields, config), config, _rope(fields))


GEMMA2 = dataclasses.replace(
    GEMMA,
    model_type="gemma2",
    config=_gemma2_config,
    layout=_gemma2_layout,
    defaults={
        **{key: value for key, value in GEMMA.defaults.items() if key != "hidden_act"},
        "num_key_value_heads": 4,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "layer_types": None,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    },
    # Beside `hidden_activation`, which is the one that is read.
    meaningless=frozenset({"cache_implementation", "hidden_act"}),
    # Labels' logits are not capped.
    classifier={"tied_head": False, "head_bias": False, "logit_cap": 0.0},
)


def _gemma3_kinds(fields: Fields) -> list[str]:
    stated = layer_types(fields)
    if stated:
        return stated
    pattern = fields.integer("sliding_window_pattern", 6)
    return [
        SLIDING if (layer + 1) % pattern else FULL for layer in range(fields.integer("num_hidden_layers"))
    ]


def _gemma3_ropes(fields: Fields) -> tuple[RopeSettings, float]:
    """That of layers that see all tokens, and the base of those with a window, which have no scaling."""
    nested = fields.table("rope_parameters")
    by_kind = {
        kind: Fields(f"{fields.source}: rope_parameters", nested.get(kind) or {}) for kind in (FULL, SLIDING)
    }
    local = by_kind[SLIDING]
    if local.text("rope_type", local.text("type", "default")) != "default":
        raise fields.refuse("rope_parameters", f"{SLIDING} with scaled RoPE is not supported")
    full = {**by_kind[FULL].values, **fields.table("rope_scaling")}
    stated = Fields(fields.source, {**fields.values, "rope_parameters": full, "rope_scaling": None})
    base = local.number("rope_theta", fields.number("rope_local_base_freq", 10000.0))
    return read_rope(stated, size_of_head(fields), base=fields.number("rope_theta", 1000000.0)), base


def _gemma3_config(fields: Fields) -> ModelConfig:
    kinds, (rope, local) = _gemma3_kinds(fields), _gemma3_ropes(fields)
    biased = fields.flag("attention_bias", False)
    return llama_config(
        fields,
        rope,
        activation=activation(fields, "hidden_activation"),
        qkv_bias=biased,
        out_bias=biased,
        qk_norm=True,
        post_norms=True,
        windows=windows_of(fields, kinds),
        logit_cap=_cap(fields, "final_logit_softcapping"),
        local_rope_base=local,
        local_rope_layers=tuple(layer for layer, kind in enumerate(kinds) if kind == SLIDING),
    )


def _gemma3_layout(fields: Fields, config: ModelConfig) -> Layout:
    layout = add_one_to_norms(block_layout(config, _GEMMA3_NAMES))
    layout = scale_embedding(layout, config, config.width**0.5)
    layout = _scaled_scores(layout, fields, config)
    rope, _ = _gemma3_ropes(fields)
    factors = [1.0 if layer in config.local_rope_layers else rope.factor**2 for layer in range(config.layers)]
    return scale_queries(layout, config, lambda layer: factors[layer])


_GEMMA_ALONE = ("hidden_act", "original_max_position_embeddings")

GEMMA3 = dataclasses.replace(
    GEMMA,
    model_type="gemma3_text",
    config=_gemma3_config,
    layout=_gemma3_layout,
    defaults={
        **{key: value for key, value in GEMMA.defaults.items() if key not in _GEMMA_ALONE},
        "num_key_value_heads": 4,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": None,
        "layer_types": None,
        "rope_local_base_freq": None,
        "final_logit_softcapping": None,
    },
    only={
        **WHOLE_HEADS,
        "use_bidirectional_attention": (False,),
        "attn_logit_softcapping": (),
    },
    # `sliding_window_pattern` is what is read where `layer_types` is absent.
    meaningless=frozenset({"cache_implementation", "_sliding_window_pattern"}),
    classifier=GEMMA2.classifier,
)
