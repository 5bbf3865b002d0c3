"""Weights to begin with, which of them decay, and weights taken over from another shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.training.recipe import Recipe
from parties.errors import ConfigError

_NORM_FACTORS = ("norm.input.weight", "norm1.input.weight", "norm2.input.weight")
_SCALES = ("log_temperature", "offset", "epsilon", "gain", "alpha", "beta")


def initial_weights(config: ModelConfig, seed: int, recipe: Recipe | None = None) -> dict[str, torch.Tensor]:
    """Weights to begin with, as GPT-2's: norms 1, biases 0, matrices normal with the recipe's deviations.

    The two matrices of each block that write to the residual are smaller by the square root of how many
    do, so that the residual's size does not grow with depth. Gains of weight normalisation are the norms of
    the first directions, so that the first weights are those without it. Temperatures, residual scales and
    offsets are the recipe's; offsets are for power attention, and 0 where attention is of another kind.

    Args:
        recipe: whose `first_...` values to take; the defaults by default.
    """
    recipe = Recipe(steps=1) if recipe is None else recipe
    generator = torch.Generator().manual_seed(seed)
    tables = {"embed.tokens": recipe.first_embedding, "embed.positions": recipe.first_positions}
    weights: dict[str, torch.Tensor] = {}
    for name, shape in weight_shapes(config).items():
        kind = name.rsplit(".", 1)[-1]
        if name.endswith(_NORM_FACTORS):
            weights[name] = torch.full(shape, recipe.first_norm_factor)
        elif kind in _SCALES:
            weights[name] = _first_scale(name, kind, shape, config, recipe, weights)
        elif name == "head.input.weight":
            weights[name] = torch.eye(config.width)
        elif len(shape) >= 2:
            writes = name.endswith(("attn.out.weight", "ffn.out.weight"))
            usual = tables.get(name, recipe.first_matrix)
            deviation = usual / math.sqrt(2 * config.layers) if writes else usual
            weights[name] = torch.randn(shape, generator=generator) * deviation
        else:
            weights[name] = torch.ones(shape) if name.endswith(".weight") else torch.zeros(shape)
    return weights


def _first_scale(
    name: str,
    kind: str,
    shape: tuple[int, ...],
    config: ModelConfig,
    recipe: Recipe,
    weights: Mapping[str, torch.Tensor],
) -> torch.Tensor:
    if kind == "gain":
        return weights[f"{name.removesuffix('gain')}weight"].square().sum(0).sqrt()
    values = {
        "log_temperature": math.log(recipe.first_temperature),
        "offset": recipe.first_offset if config.attention == "power" else 0.0,
        "epsilon": config.attention_epsilon,
        "alpha": recipe.first_alpha,
        "beta": recipe.first_beta,
    }
    return torch.full(shape, values[kind])


def decays(name: str, shape: tuple[int, ...]) -> bool:
    """Whether weight decay is for a weight: for matrices and tables, not for norms, biases and scales."""
    return len(shape) >= 2 and name.rsplit(".", 1)[-1] not in _SCALES


def check_trainable(config: ModelConfig) -> None:
    """Raises ConfigError for a shape whose weights are no free parameters."""
    if config.attention_scaled:
        raise ConfigError(
            "attention_scaled is for inference: its scales come from calibration after training"
        )


@dataclass(frozen=True, slots=True)
class Conversion:
    """Weights of a shape begun from those of another.

    Attributes:
        weights: all that the new shape has.
        kept: names of those taken over, in order.
        fresh: names of those begun anew.
        left: names of the other shape's weights without a place here.
    """

    weights: dict[str, torch.Tensor]
    kept: list[str]
    fresh: list[str]
    left: list[str]

    def describe(self) -> str:
        """One line on what was taken over, and which kinds of weights were not."""
        parts = [f"{len(self.kept)} weights kept"]
        for names, text in ((self.fresh, "begun anew"), (self.left, "left behind")):
            kinds = dict.fromkeys(
                name.split(".", 1)[1] if name.startswith("layer") else name for name in names
            )
            if names:
                parts.append(f"{len(names)} {text} ({', '.join(kinds)})")
        return "; ".join(parts)


def converted_weights(config: ModelConfig, recipe: Recipe, earlier: Mapping[str, torch.Tensor]) -> Conversion:
    """First weights of a shape, those of another where name and shape agree.

    Raises:
        ConfigError: not one weight fits.
    """
    weights = initial_weights(config, recipe.seed, recipe)
    kept = [name for name, value in weights.items() if name in earlier and earlier[name].shape == value.shape]
    if not kept:
        raise ConfigError("nothing to convert: no weight of the other model has a name and shape of this one")
    for name in kept:
        weights[name] = earlier[name].detach().float().clone()
    fresh = [name for name in weights if name not in kept]
    left = [name for name in earlier if name not in kept]
    return Conversion(weights, kept, fresh, left)
