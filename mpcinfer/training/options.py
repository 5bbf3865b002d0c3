"""A run as the user asked for it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mpcinfer.entropy.penalty import EntropyPenalty
from mpcinfer.models.config import ModelConfig
from mpcinfer.training.protected_data import ProtectedDataLoss
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Recipe
from parties.errors import ConfigError

FOLDER = "training"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """A run as the user asked for it.

    Attributes:
        source: `python`, the path of a file or folder of text, or the folder of another run or corpus.
        config: the shape; its vocabulary is that of the tokenizer to train.
        recipe: how to train.
        penalty: entropy regularisation; None for none.
        ranges: a penalty on large scores and variances; None for none.
        protect: a file or folder with the protected text of the data; None where nothing is protected.
        protection: the loss on it; belongs to `protect`.
        start_from: a model by name or path, or another run's checkpoint file, whose weights of the same names
            and shapes to begin with, and whose tokenizer to use; None to begin anew.
        evaluate_every: steps between held-out losses and samples.
        checkpoint_every: steps between checkpoints and exports.
        entropy_every: steps between looks at the heads' entropies; 0 for none.
        held_out_windows: windows of the held-out stream that an evaluation reads; the last reads all.
        sample_prompt: what the sample of an evaluation continues.
    """

    source: str
    config: ModelConfig
    recipe: Recipe
    penalty: EntropyPenalty | None = None
    ranges: RangePenalty | None = None
    protect: str | None = None
    protection: ProtectedDataLoss | None = None
    start_from: str | None = None
    evaluate_every: int = 500
    checkpoint_every: int = 500
    entropy_every: int = 500
    held_out_windows: int = 64
    sample_prompt: str = "def __init__(self"

    def __post_init__(self) -> None:
        for name in ("evaluate_every", "checkpoint_every", "held_out_windows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.entropy_every < 0:
            raise ConfigError(f"entropy_every must be at least 0, got {self.entropy_every}")
        if (self.protect is None) != (self.protection is None):
            raise ConfigError(
                "a loss on protected data and the protected text go together: give both, or neither"
            )

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> RunOptions:
        """Options from `to_json`'s form. Raises ConfigError where they are none."""
        try:
            rest = dict(fields)
            config = ModelConfig.from_json(rest.pop("config"))
            recipe = Recipe(**rest.pop("recipe"))
            penalty, ranges = rest.pop("penalty", None), rest.pop("ranges", None)
            protection = rest.pop("protection", None)
            return RunOptions(
                config=config,
                recipe=recipe,
                penalty=None if penalty is None else EntropyPenalty(**penalty),
                ranges=None if ranges is None else RangePenalty(**ranges),
                protection=None if protection is None else ProtectedDataLoss(**protection),
                **rest,
            )
        except (KeyError, TypeError) as error:
            raise ConfigError(f"incomplete training options: {error}") from error


def stored_options(out: Path) -> RunOptions:
    """The options of the run in a model folder. Raises ConfigError where there is none."""
    path = out / FOLDER / "run.json"
    try:
        fields: object = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"nothing to resume in {out}: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return RunOptions.from_json(cast("dict[str, Any]", fields))
