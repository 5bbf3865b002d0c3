"""Models from Hugging Face folders: GPT-2, the Llama family (Llama, Mistral, Qwen2), BERT and DistilBERT."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mpcinfer.models.activations import activation_of
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.fields import Fields
from mpcinfer.models.huggingface_encoder import (
    ENCODERS,
    encoder_config,
    encoder_layout_of,
    ignored_of_encoder,
    label_fields,
    labels_of,
)
from mpcinfer.models.huggingface_tokenizer import load_huggingface_tokenizer
from mpcinfer.models.layout import HUGGING_FACE, Source, gpt2_layout, llama_layout, read_weights
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.safetensors_folder import SafetensorsFolder
from mpcinfer.models.stored_ranges import ranges_beside
from parties.errors import ConfigError

_LLAMA_FAMILY = ("llama", "mistral", "qwen2")
# Stored masks and tables, and the head of a tied model, which is the token table again.
_NO_WEIGHTS = r".*\.attn\.(masked_)?bias|.*\.rotary_emb\.inv_freq"
_TIED_HEAD = r"|lm_head\.weight"


def load_huggingface(folder: Path, *, name: str | None = None) -> Model:
    """A model from a folder with `config.json`, safetensors, a tokenizer and, if there, `ranges.json`.

    Args:
        folder: as `save_pretrained` writes it. Weights become float32.
        name: what to call the model; the folder where it is left out.

    Raises:
        ConfigError: a missing or damaged file, another architecture, or a setting that we cannot represent.
    """
    config = load_huggingface_config(folder)
    checkpoint = SafetensorsFolder(folder)
    layout: dict[str, Source]
    kind = _model_type(_config_fields(folder))
    ignored = _NO_WEIGHTS + (_TIED_HEAD if config.tied_head else "")
    if kind in ENCODERS:
        layout = encoder_layout_of(config, kind, checkpoint.names())
        ignored = ignored_of_encoder(config, kind)
    elif kind == "gpt2":
        headless = "wte.weight" in checkpoint.names()
        layout = gpt2_layout(config, "" if headless else "transformer.")
    else:
        layout = llama_layout(config, HUGGING_FACE)
    public = load_public_huggingface(folder, name=name)
    return Model(
        name=public.name,
        config=config,
        weights=read_weights(config, layout, checkpoint, ignored=ignored),
        tokenizer=public.tokenizer,
        ranges=public.ranges,
        labels=public.labels,
    )


def load_public_huggingface(folder: Path, *, name: str | None = None) -> PublicModel:
    """Everything but the weights, which are not read. Arguments and errors as `load_huggingface`."""
    config, tokenizer = load_huggingface_config(folder), load_huggingface_tokenizer(folder)
    if tokenizer.suffix and config.head == "vocabulary":
        raise ConfigError(
            f"{folder}: tokenizer.json adds {list(tokenizer.suffix)} after a text; where a model continues "
            "texts, only one token before is supported"
        )
    return PublicModel(
        name=name or str(folder),
        config=config,
        tokenizer=tokenizer,
        ranges=ranges_beside(folder),
        labels=labels_of(_config_fields(folder)) if config.head == "classes" else (),
    )


def load_huggingface_config(folder: Path) -> ModelConfig:
    """The shape alone, from `config.json`.

    Raises:
        ConfigError: naming the field that is missing or that we cannot represent.
    """
    fields = _config_fields(folder)
    kind = _model_type(fields)
    if kind in ENCODERS:
        return encoder_config(folder, fields, kind)
    config = _gpt2_config(fields) if kind == "gpt2" else _llama_config(fields)
    labels = label_fields(fields)
    return dataclasses.replace(config, **labels, tied_head=False) if labels else config


def _config_fields(folder: Path) -> Fields:
    return Fields.of_file(folder / "config.json")


def _model_type(fields: Fields) -> str:
    kind = fields.text("model_type")
    if kind not in (known := ("gpt2", *_LLAMA_FAMILY, *ENCODERS)):
        raise fields.refuse("model_type", f"expected one of {', '.join(known)}")
    if fields.values.get("quantization_config") is not None:
        raise fields.refuse("quantization_config", "only float weights can be read")
    return kind


def _gpt2_config(fields: Fields) -> ModelConfig:
    for key, expected in (
        ("scale_attn_weights", True),
        ("scale_attn_by_inverse_layer_idx", False),
        ("add_cross_attention", False),
    ):
        if fields.flag(key, expected) is not expected:
            raise fields.refuse(key, f"only {expected} is supported")
    width, heads = fields.integer("n_embd"), fields.integer("n_head")
    if width % heads:
        raise fields.refuse("n_head", f"expected a divisor of n_embd ({width})")
    return ModelConfig(
        layers=fields.integer("n_layer"),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        hidden=fields.integer("n_inner", 4 * width),
        vocabulary=fields.integer("vocab_size"),
        context=fields.integer("n_positions"),
        norm="layernorm",
        norm_eps=fields.number("layer_norm_epsilon", 1e-5),
        activation=activation_of(fields, "activation_function", "gelu_new"),
        ffn="mlp",
        positions="learned",
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        tied_head=fields.flag("tie_word_embeddings", True),
    )


def _llama_config(fields: Fields) -> ModelConfig:
    _refuse_windows(fields)
    qwen = _model_type(fields) == "qwen2"  # its biases are fixed: on query, key and value only
    width, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    attention_bias = fields.flag("attention_bias", False)
    return ModelConfig(
        layers=fields.integer("num_hidden_layers"),
        width=width,
        heads=heads,
        kv_heads=fields.integer("num_key_value_heads", heads),
        head_width=fields.integer("head_dim", width // heads),
        hidden=fields.integer("intermediate_size"),
        vocabulary=fields.integer("vocab_size"),
        context=fields.integer("max_position_embeddings"),
        norm="rmsnorm",
        norm_eps=fields.number("rms_norm_eps", 1e-6),
        activation=activation_of(fields, "hidden_act", "silu"),
        ffn="glu",
        positions="rope",
        rope_base=_rope_base(fields),
        rope_pairs="halves",
        qkv_bias=qwen or attention_bias,
        out_bias=attention_bias and not qwen,
        ffn_bias=fields.flag("mlp_bias", False),
        tied_head=fields.flag("tie_word_embeddings", False),
    )


def _refuse_windows(fields: Fields) -> None:
    """Every token must see all tokens before it."""
    kinds: list[str] = fields.values.get("layer_types") or []
    if any(kind != "full_attention" for kind in kinds):
        raise fields.refuse("layer_types", "only full_attention is supported")
    window = fields.values.get("sliding_window")
    if window is not None and fields.flag("use_sliding_window", True):
        raise fields.refuse("sliding_window", "attention windows are not supported")


def _rope_base(fields: Fields) -> float:
    """The base of plain RoPE, from `rope_parameters` (newer files) or `rope_theta` and `rope_scaling`."""
    key = "rope_parameters" if fields.values.get("rope_parameters") is not None else "rope_scaling"
    nested = Fields(f"{fields.source}: {key}", fields.table(key))
    kind = nested.text("rope_type", nested.text("type", "default"))
    if kind != "default":
        raise fields.refuse(key, "scaled RoPE is not supported")
    for holder in (fields, nested):
        if holder.number("partial_rotary_factor", 1.0) != 1.0:
            raise holder.refuse("partial_rotary_factor", "RoPE on part of a head is not supported")
    return nested.number("rope_theta", fields.number("rope_theta", 10000.0))
