"""BERT and DistilBERT: norms that come last, and tokens that see all others.

The row of type 0 goes into the position table. BERT's classifiers have the others after the tokens' rows, for
the second of two texts; without a classifier all tokens have type 0, and the result is the mean of all rows,
unless a folder says otherwise (`mpcinfer.models.pooling`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.families.family import Family, activation, head_width
from mpcinfer.models.fields import Fields
from mpcinfer.models.layout import Layout, Source

_FORM: dict[str, Any] = {
    "norm": "layernorm",
    "ffn": "mlp",
    "positions": "learned",
    "tied_head": False,
    "final_norm": False,
    "causal": False,
    "norm_order": "post",
    "head": "embedding",
    "pooling": "mean",
}
POSITIONS, TYPES = "embeddings.position_embeddings", "embeddings.token_type_embeddings"
_STORED = r"(.*\.)?embeddings\.position_ids|cls\..*|vocab_.*"
"""Stored numbers of positions, and heads that predict masked tokens."""


def encoder_layout(
    config: ModelConfig, prefix: str, layers: str, parts: dict[str, tuple[str, ...]]
) -> Layout:
    """The layout of an encoder, but for what is after its blocks, and for types.

    Args:
        layers: what layers are called, with a place for the number.
        parts: the tensors of each part of a layer, norms among them.
    """
    sources = {
        "embed.tokens": Source((f"{prefix}embeddings.word_embeddings",), False),
        "embed.positions": Source((f"{prefix}{POSITIONS}",), False),
        "embed.norm": Source((f"{prefix}embeddings.LayerNorm",), False),
        "head": Source(("classifier",), True),
    }
    for layer in range(config.layers):
        for ours, names in parts.items():
            theirs = tuple(prefix + layers.format(layer) + name for name in names)
            sources[f"layer{layer}.{ours}"] = Source(theirs, not ours.startswith("norm"))
    return sources


BERT_PARTS = {
    "attn.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attn.out": ("attention.output.dense",),
    "norm1": ("attention.output.LayerNorm",),
    "ffn.in": ("intermediate.dense",),
    "ffn.out": ("output.dense",),
    "norm2": ("output.LayerNorm",),
}


def bert_config(fields: Fields) -> ModelConfig:
    """The shape of an encoder of BERT's form, without its classes."""
    width, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    return ModelConfig(
        layers=fields.integer("num_hidden_layers"),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_width=head_width(fields, "num_attention_heads", width, heads),
        hidden=fields.integer("intermediate_size"),
        vocabulary=fields.integer("vocab_size"),
        context=fields.integer("max_position_embeddings"),
        norm_eps=fields.number("layer_norm_eps"),
        activation=activation(fields, "hidden_act"),
        **_FORM,
    )


def _bert_layout(fields: Fields, config: ModelConfig) -> Layout:
    layout = {
        **encoder_layout(config, "bert.", "encoder.layer.{}.", BERT_PARTS),
        "embed.positions": Source((f"bert.{POSITIONS}",), False, plus_row=f"bert.{TYPES}"),
        "head.pooler": Source(("bert.pooler.dense",), True),
    }
    if config.types > 1:
        tokens = layout["embed.tokens"].names
        layout["embed.tokens"] = Source((*tokens, f"bert.{TYPES}"), False, change=_typed(config.vocabulary))
    return layout


def _typed(vocabulary: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Rows of tokens and of types as `protocols.typed_tokens` has them."""

    def change(rows: torch.Tensor) -> torch.Tensor:
        types = rows[vocabulary:]
        return torch.cat([rows[:vocabulary], types[1:] - types[0]])

    return change


BERT = Family(
    model_type="bert",
    config=bert_config,
    layout=_bert_layout,
    prefix="bert.",
    sizes=frozenset(
        {
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "vocab_size",
            "max_position_embeddings",
        }
    ),
    defaults={"hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2},
    only={
        "is_decoder": (False,),
        "add_cross_attention": (False,),
        "position_embedding_type": ("absolute",),
    },
    meaningless=frozenset({"attention_probs_dropout_prob", "tie_word_embeddings"}),
    stored=_STORED,
    classifier={"pooling": "first", "pooler": "tanh", "head_bias": True},
    types="type_vocab_size",
)

_DISTILBERT_PARTS = {
    "attn.qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "attn.out": ("attention.out_lin",),
    "norm1": ("sa_layer_norm",),
    "ffn.in": ("ffn.lin1",),
    "ffn.out": ("ffn.lin2",),
    "norm2": ("output_layer_norm",),
}


def _distilbert_config(fields: Fields) -> ModelConfig:
    width, heads = fields.integer("dim"), fields.integer("n_heads")
    return ModelConfig(
        layers=fields.integer("n_layers"),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_width=head_width(fields, "n_heads", width, heads),
        hidden=fields.integer("hidden_dim"),
        vocabulary=fields.integer("vocab_size"),
        context=fields.integer("max_position_embeddings"),
        norm_eps=1e-12,
        activation=activation(fields, "activation"),
        **_FORM,
    )


def _distilbert_layout(fields: Fields, config: ModelConfig) -> Layout:
    return {
        **encoder_layout(config, "distilbert.", "transformer.layer.{}.", _DISTILBERT_PARTS),
        "head.pooler": Source(("pre_classifier",), True),
    }


DISTILBERT = Family(
    model_type="distilbert",
    config=_distilbert_config,
    layout=_distilbert_layout,
    prefix="distilbert.",
    sizes=frozenset({"dim", "hidden_dim", "n_layers", "n_heads", "vocab_size", "max_position_embeddings"}),
    defaults={"activation": "gelu"},
    # Sinusoidal positions are stored as a table like any other.
    meaningless=frozenset(
        {
            "sinusoidal_pos_embds",
            "qa_dropout",
            "seq_classif_dropout",
            "tie_weights_",
            "tie_word_embeddings",
            "output_past",
        }
    ),
    stored=_STORED,
    classifier={"pooling": "first", "pooler": "relu", "head_bias": True},
)
