"""Families with layer norms and RoPE: GPT-NeoX (Pythia), Phi, StarCoder2."""

from __future__ import annotations

from typing import Any

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.families.family import Family
from mpcinfer.models.families.llama import (
    DEFAULTS,
    SIZES,
    WHOLE_HEADS,
    llama_config,
    size_of_head,
    turned_layout,
)
from mpcinfer.models.families.rope_keys import RopeSettings, read_rope
from mpcinfer.models.families.window_keys import everywhere
from mpcinfer.models.fields import Fields
from mpcinfer.models.layout import HUGGING_FACE, BlockNames, Layout, block_layout, changed

_ROPE = {"rope_parameters": None, "rope_scaling": None, "original_max_position_embeddings": None}


def _config(fields: Fields, rope: RopeSettings, eps: str, **others: Any) -> ModelConfig:
    """A shape with layer norms and plain FFNs."""
    return llama_config(fields, rope, eps=eps, norm="layernorm", ffn="mlp", **others)


def _neox_rope(fields: Fields) -> RopeSettings:
    return read_rope(
        fields,
        size_of_head(fields),
        partial=0.25,
        partial_key="rotary_pct",
        base_key="rotary_emb_base",
        turns_in_part=True,
    )


def _neox_config(fields: Fields) -> ModelConfig:
    biased = fields.flag("attention_bias", True)
    return _config(
        fields,
        _neox_rope(fields),
        "layer_norm_eps",
        qkv_bias=biased,
        out_bias=biased,
        ffn_bias=True,
        parallel=fields.flag("use_parallel_residual", True),
    )


_NEOX_NAMES = BlockNames(
    tokens="gpt_neox.embed_in",
    layer="gpt_neox.layers.{}.",
    norm1="input_layernorm",
    qkv=("attention.query_key_value",),
    out="attention.dense",
    norm2="post_attention_layernorm",
    ffn_in=("mlp.dense_h_to_4h",),
    ffn_out="mlp.dense_4h_to_h",
    final_norm="gpt_neox.final_layer_norm",
    head="embed_out",
)


def _neox_layout(fields: Fields, config: ModelConfig) -> Layout:
    def apart(tensor: torch.Tensor) -> torch.Tensor:
        """Query, key and value of a head after the other, as they are stored, to all queries first."""
        by_head = tensor.reshape(config.heads, 3, config.head_width, *tensor.shape[1:])
        return by_head.transpose(0, 1).flatten(0, 2)

    layout = block_layout(config, _NEOX_NAMES)
    layout = changed(layout, [f"layer{layer}.attn.qkv" for layer in range(config.layers)], apart)
    return turned_layout(layout, config, _neox_rope(fields))


GPT_NEOX = Family(
    model_type="gpt_neox",
    config=_neox_config,
    layout=_neox_layout,
    prefix="gpt_neox.",
    sizes=SIZES,
    defaults={
        **_ROPE,
        "rotary_pct": None,
        "rotary_emb_base": None,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "use_parallel_residual": True,
        "attention_bias": True,
        "tie_word_embeddings": False,
    },
    # Stored causal masks and tables.
    stored=r".*\.attention\.(masked_)?bias|.*\.rotary_emb\.inv_freq",
)


def _phi_rope(fields: Fields) -> RopeSettings:
    return read_rope(fields, size_of_head(fields), partial=0.5, turns_in_part=True)


def _phi_config(fields: Fields) -> ModelConfig:
    tied = fields.flag("tie_word_embeddings", False)
    if tied:
        raise fields.refuse("tie_word_embeddings", "a tied head with a bias is not supported")
    return _config(
        fields,
        _phi_rope(fields),
        "layer_norm_eps",
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        head_bias=True,
        parallel=True,
    )


_PHI_NAMES = BlockNames(
    tokens="model.embed_tokens",
    layer="model.layers.{}.",
    norm1="input_layernorm",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    out="self_attn.dense",
    norm2="input_layernorm",
    ffn_in=("mlp.fc1",),
    ffn_out="mlp.fc2",
    final_norm="model.final_layernorm",
    head="lm_head",
)


def _phi_layout(fields: Fields, config: ModelConfig) -> Layout:
    return turned_layout(block_layout(config, _PHI_NAMES), config, _phi_rope(fields))


PHI = Family(
    model_type="phi",
    config=_phi_config,
    layout=_phi_layout,
    prefix="model.",
    sizes=SIZES,
    defaults={
        **_ROPE,
        "rope_theta": None,
        "partial_rotary_factor": None,
        "num_key_value_heads": None,
        "head_dim": None,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    },
    only={"qk_layernorm": (False,)},
)


def _starcoder2_rope(fields: Fields) -> RopeSettings:
    return read_rope(fields, size_of_head(fields))


def _starcoder2_config(fields: Fields) -> ModelConfig:
    biased = fields.flag("use_bias", True)
    return _config(
        fields,
        _starcoder2_rope(fields),
        "norm_epsilon",
        windows=everywhere(fields),
        qkv_bias=biased,
        out_bias=biased,
        ffn_bias=biased,
    )


_STARCODER2_NAMES = BlockNames(
    tokens=HUGGING_FACE.tokens,
    layer=HUGGING_FACE.layer,
    norm1=HUGGING_FACE.norm1,
    qkv=HUGGING_FACE.qkv,
    out=HUGGING_FACE.out,
    norm2=HUGGING_FACE.norm2,
    ffn_in=("mlp.c_fc",),
    ffn_out="mlp.c_proj",
    final_norm=HUGGING_FACE.final_norm,
    head=HUGGING_FACE.head,
)


def _starcoder2_layout(fields: Fields, config: ModelConfig) -> Layout:
    return turned_layout(block_layout(config, _STARCODER2_NAMES), config, _starcoder2_rope(fields))


STARCODER2 = Family(
    model_type="starcoder2",
    config=_starcoder2_config,
    layout=_starcoder2_layout,
    prefix="model.",
    sizes=SIZES,
    defaults={
        **{key: value for key, value in DEFAULTS.items() if key != "rms_norm_eps"},
        "num_key_value_heads": 2,
        "hidden_act": "gelu_pytorch_tanh",
        "norm_epsilon": 1e-5,
        "use_bias": True,
        "tie_word_embeddings": True,
        "sliding_window": None,
    },
    only=WHOLE_HEADS,
    meaningless=frozenset({"activation_function", "mlp_type", "norm_type"}),
)
