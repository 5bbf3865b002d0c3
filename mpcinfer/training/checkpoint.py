"""Where a run stands, on disk: everything that `mpcinfer train --resume` needs to go on exactly."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any, cast

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folder import replace_file
from mpcinfer.training.schedule import decay_start
from mpcinfer.training.trainer import Recipe, TrainingState
from parties.errors import ConfigError

FORMAT = 1


def save_checkpoint(path: Path, state: TrainingState, data_digest: str) -> None:
    """Writes weights, optimizer, step, recipe and the data's digest; the file appears whole or not at all.

    The place in the data and every random choice are functions of seed and step: they need no record.
    """
    content = {
        "format": FORMAT,
        "config": state.config.to_json(),
        "recipe": dataclasses.asdict(state.recipe),
        "data": data_digest,
        "step": state.step,
        "weights": state.plain_weights(),
        "optimizer": state.optimizer.state_dict(),
    }
    replace_file(path, lambda part: torch.save(content, part))


def load_checkpoint(
    path: Path, config: ModelConfig, recipe: Recipe, data_digest: str, *, workers: int = 1
) -> TrainingState:
    """The state that `save_checkpoint` wrote, to go on under the same recipe.

    The number of steps and the fraction that decays may differ, as long as neither run would have begun its
    decay: up to there the learning rate does not depend on them.

    Raises:
        ConfigError: no checkpoint, a broken one, or one of another shape, recipe or data.
    """
    content = _read(path)
    saved_config = ModelConfig.from_json(cast("dict[str, Any]", content["config"]))
    saved_recipe = Recipe(**cast("dict[str, Any]", content["recipe"]))
    step = cast("int", content["step"])
    _same(path, "model shape", saved_config, config)
    _same(path, "data", content["data"], data_digest)
    _same(path, "recipe", dataclasses.replace(saved_recipe, steps=recipe.steps, decay=recipe.decay), recipe)
    if saved_recipe != recipe:
        earliest = min(decay_start(run.steps, run.decay) for run in (saved_recipe, recipe))
        if step > earliest:
            raise ConfigError(
                f"{path}: step {step} is past the start of the decay (step {earliest:.0f}); the run keeps "
                f"its {saved_recipe.steps} steps, of which a fraction of {saved_recipe.decay:g} decays"
            )
    state = TrainingState(config, recipe, workers=workers)
    weights = cast("dict[str, torch.Tensor]", content["weights"])
    with torch.no_grad():
        for name, weight in state.weights.items():
            weight.copy_(weights[name])
    state.optimizer.load_state_dict(cast("dict[str, Any]", content["optimizer"]))
    state.step = step
    return state


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise ConfigError(f"nothing to resume: no checkpoint at {path}")
    try:
        content: object = torch.load(path, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise ConfigError(f"{path}: not a checkpoint: {error}") from error
    fields = {"format", "config", "recipe", "data", "step", "weights", "optimizer"}
    if not isinstance(content, dict) or set(cast("dict[str, object]", content)) != fields:
        raise ConfigError(f"{path}: not a checkpoint of this trainer")
    return cast("dict[str, object]", content)


def _same(path: Path, what: str, saved: object, asked: object) -> None:
    if saved != asked:
        raise ConfigError(f"{path}: the {what} differs: the checkpoint has {saved}, asked for {asked}")
