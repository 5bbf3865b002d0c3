"""Which models a polynomial plan runs."""

from __future__ import annotations

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.norm_kinds import POINTWISE
from parties.errors import ConfigError


def require_polynomial(config: ModelConfig, otherwise: str = "crypten") -> None:
    """That a model has nothing but what a polynomial plan has protocols for.

    Args:
        otherwise: the plan of the suite that runs any model.

    Raises:
        ConfigError: it has something else; the message names it and says how to convert the model.
    """
    if config.attention == "softmax":
        raise ConfigError(
            "this plan is additions and products alone, and the model's softmax attention is not: convert "
            "it, `mpcinfer train OUT --from MODEL --variant poly --range-scores 3 --range-activations 6`, or "
            f"take --plan {otherwise}"
        )
    if config.attention == "gaussian":
        raise ConfigError(
            "this plan is additions and products alone, and the model's Gaussian kernel is not: take "
            f"--plan {otherwise}"
        )
    if config.norm in POINTWISE and (config.block_norms or config.final_norm):
        raise ConfigError(
            f"this plan is additions and products alone, and the norms' {POINTWISE[config.norm]} is "
            f"not: take --plan {otherwise}"
        )
    if config.pooler == "tanh":
        raise ConfigError(
            "this plan is additions and products alone, and the tanh of the model's pooler is not: take "
            f"--plan {otherwise}"
        )
