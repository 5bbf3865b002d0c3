"""GPT-2 and OPT: learned positions, one block after the other."""

from __future__ import annotations

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.families.family import Family, activation, head_width
from mpcinfer.models.fields import Fields
from mpcinfer.models.layout import BlockNames, Layout, Source, block_layout, gpt2_layout


def _gpt2_config(fields: Fields) -> ModelConfig:
    width, heads = fields.integer("n_embd"), fields.integer("n_head")
    return ModelConfig(
        layers=fields.integer("n_layer"),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_width=head_width(fields, "n_head", width, heads),
        hidden=fields.integer("n_inner", 4 * width),
        vocabulary=fields.integer("vocab_size"),
        context=fields.integer("n_positions"),
        norm="layernorm",
        norm_eps=fields.number("layer_norm_epsilon"),
        activation=activation(fields, "activation_function"),
        tied_head=fields.flag("tie_word_embeddings", True),
    )


def _gpt2_layout(fields: Fields, config: ModelConfig) -> Layout:
    return gpt2_layout(config, "transformer.")


GPT2 = Family(
    model_type="gpt2",
    config=_gpt2_config,
    layout=_gpt2_layout,
    prefix="transformer.",
    sizes=frozenset({"n_embd", "n_layer", "n_head", "n_positions", "vocab_size"}),
    defaults={
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    },
    only={
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    meaningless=frozenset(
        {
            "n_ctx",
            "reorder_and_upcast_attn",
            "summary_type",
            "summary_use_proj",
            "summary_activation",
            "summary_proj_to_labels",
            "summary_first_dropout",
        }
    ),
    # Stored causal masks.
    stored=r".*\.attn\.(masked_)?bias",
)

_OPT_POSITIONS_BEFORE = 2
"""Rows of OPT's position table before that of the first token."""

_OPT_NAMES = BlockNames(
    tokens="model.decoder.embed_tokens",
    layer="model.decoder.layers.{}.",
    norm1="self_attn_layer_norm",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    out="self_attn.out_proj",
    norm2="final_layer_norm",
    ffn_in=("fc1",),
    ffn_out="fc2",
    final_norm="model.decoder.final_layer_norm",
    head="lm_head",
)


def _opt_config(fields: Fields) -> ModelConfig:
    width, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    if fields.integer("word_embed_proj_dim", width) != width:
        raise fields.refuse("word_embed_proj_dim", f"only the width, {width}, is supported")
    biased = fields.flag("enable_bias", True)
    return ModelConfig(
        layers=fields.integer("num_hidden_layers"),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_width=head_width(fields, "num_attention_heads", width, heads),
        hidden=fields.integer("ffn_dim"),
        vocabulary=fields.integer("vocab_size"),
        context=fields.integer("max_position_embeddings"),
        norm="layernorm",
        norm_eps=1e-5,
        activation=activation(fields, "activation_function"),
        qkv_bias=biased,
        out_bias=biased,
        ffn_bias=biased,
        tied_head=fields.flag("tie_word_embeddings", True),
    )


def _opt_layout(fields: Fields, config: ModelConfig) -> Layout:
    positions = Source(("model.decoder.embed_positions",), False, lambda table: table[_OPT_POSITIONS_BEFORE:])
    return block_layout(config, _OPT_NAMES) | {"embed.positions": positions}


OPT = Family(
    model_type="opt",
    config=_opt_config,
    layout=_opt_layout,
    prefix="model.",
    sizes=frozenset(
        {
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "ffn_dim",
            "vocab_size",
            "max_position_embeddings",
        }
    ),
    defaults={
        "word_embed_proj_dim": None,
        "activation_function": "relu",
        "enable_bias": True,
        "tie_word_embeddings": True,
    },
    only={
        "do_layer_norm_before": (True,),
        "_remove_final_layer_norm": (False,),
        "layer_norm_elementwise_affine": (True,),
    },
    meaningless=frozenset({"layerdrop", "init_std"}),
)
