"""Gemma: gains stored less one, token rows times the root of the width, GELU in a gated unit."""

from __future__ import annotations

from mpcinfer.models.config import ActivationKind, ModelConfig
from mpcinfer.models.families.family import Family, activation
from mpcinfer.models.families.folding import add_one_to_norms, scale_embedding
from mpcinfer.models.families.llama import (
    DEFAULTS,
    SIZES,
    WHOLE_HEADS,
    llama_config,
    size_of_head,
    turned_layout,
)
from mpcinfer.models.families.rope_keys import RopeSettings, read_rope
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
