"""The shape in one of our model folders, read without weights or tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from mpcinfer.models.config import ModelConfig
from parties.errors import ConfigError

CONFIG_FILE = "config.json"
RANGES_FILE = "ranges.json"


def load_model_config(folder: Path | str) -> ModelConfig:
    """The shape alone, from a model folder's `config.json`. Raises ConfigError where it cannot be read."""
    return ModelConfig.from_json(json_object(Path(folder) / CONFIG_FILE))


def is_model_folder(folder: Path | str) -> bool:
    """Whether a folder is one of ours: its configuration has `layers`, which Hugging Face's have not."""
    try:
        return "layers" in json_object(Path(folder) / CONFIG_FILE)
    except ConfigError:
        return False


def read_file(source: Path) -> bytes:
    """A file of a model folder; raises ConfigError where it cannot be read."""
    try:
        return source.read_bytes()
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}") from error


def json_object(source: Path) -> dict[str, Any]:
    """A file of one JSON object; raises ConfigError for anything else."""
    try:
        value: object = json.loads(read_file(source))
    except ValueError as error:
        raise ConfigError(f"{source}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{source}: expected a JSON object")
    return cast("dict[str, Any]", value)
