"""Which norms go with what else of a shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpcinfer.models.norm_kinds import ROW_NORMS
from parties.errors import ConfigError

if TYPE_CHECKING:
    from mpcinfer.models.config import ModelConfig


def check_norms(config: ModelConfig) -> None:
    """Raises ConfigError where a shape's norms do not go with the rest of it."""
    if config.qk_norm or config.post_norms:
        if config.norm != "rmsnorm" or not config.block_norms:
            raise ConfigError("qk_norm and post_norms are for blocks with RMS norms")
        if config.qk_norm and (config.attention != "softmax" or config.temperature != "none"):
            raise ConfigError("qk_norm is for softmax attention without temperatures")
    if config.norm not in ROW_NORMS and (
        config.norm_order == "post" or config.parallel or config.head != "vocabulary"
    ):
        raise ConfigError(f"norm {config.norm}: for norm_order pre, a head over the vocabulary, not parallel")
    if config.norm_order == "post":
        _check_post_norms(config)
    elif config.residual_affine:
        raise ConfigError("residual_affine is for norm_order post")


def _check_post_norms(config: ModelConfig) -> None:
    if not config.block_norms or config.final_norm or config.head_input or config.scaled_ffn:
        raise ConfigError("norm_order post has norms in its blocks, and none before the head")
    if config.ffn in ("fused", "none") or config.pruned_ffns:
        raise ConfigError("norm_order post needs an FFN with an activation in every block")
    if config.parallel or config.qk_norm or config.post_norms:
        raise ConfigError("norm_order post has no parallel blocks, qk_norm or post_norms")
    if config.head == "vocabulary":
        raise ConfigError("norm_order post has no head over the vocabulary: take embedding or classes")
