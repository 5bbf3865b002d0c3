"""Parts of a model that are billed or run by themselves."""

from __future__ import annotations

from typing import Literal

from mpcinfer.models.config import ModelConfig, weight_shapes

Part = Literal["all", "stack", "embedding", "head"]


def needed(config: ModelConfig, part: Part) -> set[str]:
    """Names of the weights that a part reads."""
    names = set(weight_shapes(config))
    embedding = {name for name in names if name.startswith("embed.")}
    stack = {name for name in names if name.startswith("layer")}
    head = {name for name in names if name.startswith("head.")}
    if config.tied_head:
        head.add("embed.tokens")
    return {"all": names, "embedding": embedding, "stack": stack, "head": head}[part]
