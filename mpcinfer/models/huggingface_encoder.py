"""BERT and DistilBERT from Hugging Face folders, and the labels of classifiers of every family.

One text at a time: all tokens have type 0, whose row goes into the position table. What reads the rows is
said by `architectures` (a classifier) or by the pooling of Sentence Transformers beside the model; without
either it is the mean of all rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

from mpcinfer.models.activations import activation_of
from mpcinfer.models.config import ModelConfig, Pooling
from mpcinfer.models.fields import Fields
from mpcinfer.models.layout import BERT, DISTILBERT, Source, encoder_layout
from parties.errors import ConfigError

ENCODERS = ("bert", "distilbert")
_NAMES = {"bert": BERT, "distilbert": DISTILBERT}
_CLASSIFIER = "ForSequenceClassification"
_UNREAD = r"(bert\.)?embeddings\.position_ids|cls\..*|vocab_.*"
"""Stored tables, and heads that predict masked tokens."""
_UNREAD_POOLER = r"|(bert\.)?pooler\.dense\..*"
_MODULES = ("Transformer", "Pooling", "Normalize")


def encoder_config(folder: Path, fields: Fields, kind: str) -> ModelConfig:
    """The shape of an encoder, from its `config.json` and the pooling beside it.

    Raises:
        ConfigError: naming the field that is missing or that we cannot represent.
    """
    config = _bert_fields(fields) if kind == "bert" else _distilbert_fields(fields)
    labels: dict[str, Any] = label_fields(fields)
    if labels:
        labels |= {"pooling": "first", "pooler": "tanh" if kind == "bert" else "relu", "class_bias": True}
    else:
        labels = {"head": "embedding", "pooling": _pooling(folder)}
    return ModelConfig(
        **config,
        **labels,
        norm="layernorm",
        ffn="mlp",
        positions="learned",
        tied_head=False,
        final_norm=False,
        causal=False,
        norm_order="post",
    )


def encoder_layout_of(config: ModelConfig, kind: str, names: Collection[str]) -> dict[str, Source]:
    """Where a checkpoint with these tensors has our weights."""
    with_head = any(name.startswith(f"{kind}.") for name in names)
    return encoder_layout(config, _NAMES[kind], f"{kind}." if with_head else "")


def ignored_of_encoder(config: ModelConfig, kind: str) -> str:
    """Pattern of tensors that we do not read: a pooler where rows are pooled otherwise."""
    return _UNREAD + (_UNREAD_POOLER if config.head == "embedding" else "")


def label_fields(fields: Fields) -> dict[str, Any]:
    """The fields of a classifier of any family, from its last token; nothing for other models."""
    if not any(name.endswith(_CLASSIFIER) for name in _architectures(fields)):
        return {}
    return {"head": "classes", "classes": len(labels_of(fields))}


def labels_of(fields: Fields) -> tuple[str, ...]:
    """The names of a classifier's labels, in order.

    Raises:
        ConfigError: `id2label` does not number them from 0.
    """
    table = fields.table("id2label")
    if not table:
        return tuple(f"LABEL_{number}" for number in range(fields.integer("num_labels", 2)))
    try:
        return tuple(str(table[str(number)]) for number in range(len(table)))
    except KeyError:
        raise fields.refuse("id2label", "expected labels numbered from 0") from None


def _architectures(fields: Fields) -> list[str]:
    return [str(name) for name in cast("list[object]", fields.values.get("architectures") or [])]


def _bert_fields(fields: Fields) -> dict[str, Any]:
    for key in ("is_decoder", "add_cross_attention"):
        if fields.flag(key, False):
            raise fields.refuse(key, "only encoders by themselves are supported")
    if fields.text("position_embedding_type", "absolute") != "absolute":
        raise fields.refuse("position_embedding_type", "only absolute is supported")
    width, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    return {
        "layers": fields.integer("num_hidden_layers"),
        "hidden": fields.integer("intermediate_size"),
        "context": fields.integer("max_position_embeddings", 512),
        "norm_eps": fields.number("layer_norm_eps", 1e-12),
        "activation": activation_of(fields, "hidden_act", "gelu"),
        **_sizes(fields, width, heads, "num_attention_heads"),
    }


def _distilbert_fields(fields: Fields) -> dict[str, Any]:
    width, heads = fields.integer("dim"), fields.integer("n_heads")
    return {
        "layers": fields.integer("n_layers"),
        "hidden": fields.integer("hidden_dim"),
        "context": fields.integer("max_position_embeddings", 512),
        "norm_eps": 1e-12,
        "activation": activation_of(fields, "activation", "gelu"),
        **_sizes(fields, width, heads, "n_heads"),
    }


def _sizes(fields: Fields, width: int, heads: int, key: str) -> dict[str, Any]:
    if width % heads:
        raise fields.refuse(key, f"expected a divisor of the width ({width})")
    vocabulary = fields.integer("vocab_size")
    return {
        "width": width,
        "heads": heads,
        "kv_heads": heads,
        "head_width": width // heads,
        "vocabulary": vocabulary,
    }


def _pooling(folder: Path) -> Pooling:
    """That of a Sentence Transformers model; the mean where nothing is said.

    Raises:
        ConfigError: another kind of pooling, or modules after it that we do not have.
    """
    _require_modules(folder / "modules.json")
    fields = Fields.of_optional_file(folder / "1_Pooling" / "config.json")
    chosen = [key for key in fields.values if key.startswith("pooling_mode_") and fields.flag(key, False)]
    if chosen in ([], ["pooling_mode_mean_tokens"]):
        return "mean"
    if chosen == ["pooling_mode_cls_token"]:
        return "first"
    raise ConfigError(f"{fields.source}: {', '.join(chosen)}: expected the mean or the first token alone")


def _require_modules(path: Path) -> None:
    if not path.is_file():
        return
    try:
        modules = cast("list[dict[str, Any]]", json.loads(path.read_text(encoding="utf-8")))
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: expected a list of modules with types: {error}") from error
    if other := [kind for kind in kinds if kind not in _MODULES]:
        raise ConfigError(f"{path}: {other[0]} is not supported, only {', '.join(_MODULES)}")
