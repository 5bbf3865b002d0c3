"""A model with key patterns as one file: the name of a model, the patterns, and ranges that hold for both.

{
 "model": "smollm2-135m-instruct",     a name, or a path as for every command
 "error": 0.05,                        what the patterns were fitted to; nobody but a reader needs it
 "patterns": [[{"alpha": ...}, ...]],  of every layer a pattern a head, or none
 "ranges": {...}                       as in `ranges.json`
}

Wherever a model's name is expected the file's path is taken too: both parties of a run have the same patterns
because these are part of the shape that they compare.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.fields import Fields
from mpcinfer.models.stored_ranges import rounded_ranges
from parties.errors import ConfigError

if TYPE_CHECKING:  # finding a model needs no torch
    from mpcinfer.models.model import Model

SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class PatternsFile:
    """What such a file says.

    Attributes:
        base: the model's name or path.
        patterns: as they stand in the file.
        ranges: of the model with patterns.
    """

    path: Path
    base: str
    patterns: Any
    ranges: Mapping[str, float]

    @classmethod
    def of(cls, name_or_path: str | Path) -> PatternsFile | None:
        """What a path names; None where it is no file of JSON.

        Raises:
            ConfigError: such a file that cannot be read, or lacks something.
        """
        path = Path(name_or_path)
        if path.suffix != SUFFIX or not path.is_file():
            return None
        fields = Fields.of_file(path)
        if "patterns" not in fields.values:
            raise ConfigError(
                f"{path} is no model: a .json file has key patterns, as `mpcinfer sparsify` writes"
            )
        base = fields.text("model")
        if Path(base).suffix == SUFFIX:
            raise fields.refuse("model", "expected a model without patterns")
        numbers = Fields(f"{path}: ranges", fields.table("ranges"))
        ranges = {key: numbers.number(key) for key in numbers.values}
        return cls(path, base, fields.values["patterns"], ranges)

    def config(self, config: ModelConfig) -> ModelConfig:
        """The base's shape with the patterns; raises ConfigError where they are not for it."""
        try:
            return ModelConfig.from_json({**config.to_json(), "patterns": self.patterns})
        except ConfigError as error:
            raise ConfigError(f"{self.path}, for {self.base}: {error}") from None


def save_patterns(path: Path, model: Model, base: str, error: float) -> None:
    """Writes the patterns and ranges of a model that came from `base`."""
    document = {
        "model": base,
        "error": error,
        "patterns": [[dataclasses.asdict(each) for each in layer] for layer in model.config.patterns],
        "ranges": rounded_ranges(model.ranges),
    }
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")
