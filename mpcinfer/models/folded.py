"""Shapes of folded models: functions of the public shape alone, so that both parties know them.

What folds the weights is in `static`, `fold` and `attention_only`.
"""

from __future__ import annotations

import dataclasses
import math

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.norm_kinds import biased
from parties.errors import ConfigError

LARGEST_CONDITION = 1e4
"""Bases worse than that are not folded by default: they cost a fixed-point run about 13 bits."""


def static_config(config: ModelConfig) -> ModelConfig:
    """The shape after `static`."""
    if config.norm == "linear":
        config = dataclasses.replace(
            config,
            block_norms=False,
            final_norm=False,
            qkv_bias=config.qkv_bias or config.block_norms,
            ffn_bias=config.ffn_bias or config.block_norms,
            head_input=config.head_input or config.final_norm,
        )
    return dataclasses.replace(
        config,
        ffn_weights="plain",
        scaled_ffn=False,
        temperature="position" if config.temperature == "position" else "none",
        head_input=config.head_input or config.scaled_ffn,
    )


def folded_config(config: ModelConfig) -> ModelConfig:
    """The shape after `fold`."""
    config = static_config(config)
    if config.block_norms and config.norm_affine:
        bias, post = biased(config.norm), config.norm_order == "post"
        config = dataclasses.replace(
            config,
            norm_affine=False,
            residual_affine=post,
            qkv_bias=config.qkv_bias or bias,
            ffn_bias=config.ffn_bias or bias,
        )
    if config.ffn == "mlp" and config.activation == "identity":
        config = dataclasses.replace(config, ffn="fused")
    if config.final_norm and not config.block_norms:
        config = dataclasses.replace(config, head_input=True)
    return config


def attention_only_config(config: ModelConfig, kept: int = 0) -> ModelConfig:
    """The shape after `fold_attention_only`, all FFNs but the first `kept` folded away.

    Raises:
        ConfigError: the model has norms in its blocks, or FFNs that are not linear.
    """
    folded = folded_config(config)
    if folded.block_norms:
        raise ConfigError("only models without norms in their blocks fold to attention alone")
    if folded.ffn not in ("fused", "none"):
        raise ConfigError(f"an FFN with {config.activation} is not linear and does not fold away")
    if folded.ffn == "none":
        return folded
    return dataclasses.replace(
        folded,
        ffn="fused" if kept else "none",
        pruned_ffns=folded.layers - kept if kept else 0,
        out_bias=folded.out_bias or folded.ffn_bias,
        head_input=folded.tied_head or folded.final_norm,
    )


def query_exponent(config: ModelConfig) -> int:
    """The power of two of `ModelConfig.query_scale`; `scale_queries` does the rest."""
    return -math.floor(-math.log2(config.query_scale))
