"""Checkpoints of a run: everything that `mpcinfer train --resume` needs to go on exactly."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folder import replace_file
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.schedule import decay_start
from mpcinfer.training.trainer import TrainingState
from parties.errors import ConfigError

FORMAT = 2
_FIELDS = {
    "format",
    "config",
    "recipe",
    "penalty",
    "ranges",
    "data",
    "step",
    "weights",
    "thresholds",
    "optimizer",
}
_PROTECTION = "protection"  # only of runs with a loss on protected data


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is on disk, read and checked for form; its tensors are in main memory."""

    path: Path
    config: ModelConfig
    weights: dict[str, torch.Tensor]
    content: Mapping[str, Any]


def save_checkpoint(path: Path, state: TrainingState, data_digest: str) -> None:
    """Writes weights, optimizer, step, recipe and the data's digest; the file appears whole or not at all.

    The place in the data and every random choice are functions of seed and step: they need no record.
    """
    content = {
        "format": FORMAT,
        "config": state.config.to_json(),
        "recipe": dataclasses.asdict(state.recipe),
        "penalty": None if state.penalty is None else dataclasses.asdict(state.penalty),
        "ranges": None if state.ranges is None else dataclasses.asdict(state.ranges),
        "data": data_digest,
        "step": state.step,
        "weights": state.plain_weights(),
        "thresholds": None if state.thresholds is None else state.thresholds.detach(),
        "optimizer": state.optimizer.state_dict(),
    }
    if state.protection is not None:
        content[_PROTECTION] = dataclasses.asdict(state.protection)
    replace_file(path, lambda part: torch.save(content, part))


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint of any run. Raises ConfigError for a missing or broken one."""
    content = _read(path)
    config = ModelConfig.from_json(cast("dict[str, Any]", content["config"]))
    return Checkpoint(path, config, cast("dict[str, torch.Tensor]", content["weights"]), content)


def restore(state: TrainingState, path: Path, data_digest: str) -> None:
    """Puts a fresh state where `save_checkpoint` left another of the same shape, recipe and penalties.

    The number of steps and the fraction that decays may differ, as long as neither run would have begun its
    decay: up to there the learning rate does not depend on them.

    Raises:
        ConfigError: no checkpoint, a broken one, or one of another shape, recipe, penalty or data.
    """
    saved, recipe = read_checkpoint(path), state.recipe
    content = saved.content
    saved_recipe = Recipe(**content["recipe"])
    step = cast("int", content["step"])
    _same(path, "model shape", saved.config, state.config)
    _same(path, "data", content["data"], data_digest)
    _same(path, "recipe", dataclasses.replace(saved_recipe, steps=recipe.steps, decay=recipe.decay), recipe)
    for name in ("penalty", "ranges", _PROTECTION):
        asked = getattr(state, name)
        _same(path, name, content.get(name), None if asked is None else dataclasses.asdict(asked))
    if saved_recipe != recipe:
        earliest = min(decay_start(run.steps, run.decay, run.schedule) for run in (saved_recipe, recipe))
        if step > earliest:
            raise ConfigError(
                f"{path}: step {step} is past the start of the decay (step {earliest:.0f}); the run keeps "
                f"its {saved_recipe.steps} steps, of which a fraction of {saved_recipe.decay:g} decays"
            )
    with torch.no_grad():
        for name, weight in state.weights.items():
            weight.copy_(saved.weights[name])
        if state.thresholds is not None:
            state.thresholds.copy_(cast("torch.Tensor", content["thresholds"]))
    state.optimizer.load_state_dict(content["optimizer"])
    state.step = step


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise ConfigError(f"no checkpoint at {path}")
    try:
        content: object = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise ConfigError(f"{path}: not a checkpoint: {error}") from error
    if not isinstance(content, dict) or set(cast("dict[str, object]", content)) - {_PROTECTION} != _FIELDS:
        raise ConfigError(f"{path}: not a checkpoint of this trainer")
    fields = cast("dict[str, object]", content)
    if fields["format"] != FORMAT:
        raise ConfigError(f"{path}: a checkpoint of format {fields['format']}, expected {FORMAT}")
    return fields


def _same(path: Path, what: str, saved: object, asked: object) -> None:
    if saved != asked:
        raise ConfigError(f"{path}: the {what} differs: the checkpoint has {saved}, asked for {asked}")
