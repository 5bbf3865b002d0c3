"""The optimizer of a recipe."""

from __future__ import annotations

from typing import Any

import torch

from mpcinfer.training.delta_bar_delta import RegrettableDeltaBarDelta
from mpcinfer.training.random_vector_accelerating import RandomVectorAccelerating
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.reject_accelerating import RejectAccelerating


def optimizer_of(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """AdamW over groups of parameters, accelerated and controlled as the recipe says."""
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(
        groups,
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.adam_epsilon,
        fused=True,
    )
    if recipe.accelerate == "reject":
        optimizer = RejectAccelerating(optimizer)
    elif recipe.accelerate == "random":
        optimizer = RandomVectorAccelerating(optimizer, recipe.seed)
    if recipe.rate_control == "rdbd":
        optimizer = RegrettableDeltaBarDelta(optimizer)
    return optimizer
