"""A model by name or path, whatever form it is in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.find import find_model, find_path
from mpcinfer.models.folder import load_model_folder, load_public_folder
from mpcinfer.models.folder_config import is_model_folder, load_model_config
from mpcinfer.models.gguf import GgufFile, gguf_config, load_gguf, load_public_gguf
from mpcinfer.models.huggingface import (
    load_huggingface,
    load_huggingface_config,
    load_public_huggingface,
)
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.zoo import zoo


def load_model(name_or_path: str | Path) -> Model:
    """A model with its weights and tokenizer.

    Args:
        name_or_path: as for `find_model`.

    Raises:
        ConfigError: as `find_model`, or its files cannot be used.
    """
    found = find_model(name_or_path)
    if found.path.is_file():
        model = load_gguf(found.path, name=found.name)
    elif is_model_folder(found.path):
        model = load_model_folder(found.path, name=found.name)
    else:
        model = load_huggingface(found.path, name=found.name)
    return model if found.entry is None else dataclasses.replace(model, ranges=found.entry.ranges)


def load_public(name_or_path: str | Path) -> PublicModel:
    """What a client needs: shape, tokenizer and ranges.

    Weights are not read, and of one of our own folders they need not be there. Arguments and errors as
    `load_model`.
    """
    found = find_model(name_or_path)
    if found.path.is_file():
        public = load_public_gguf(found.path, name=found.name)
    elif is_model_folder(found.path):
        public = load_public_folder(found.path, name=found.name)
    else:
        public = load_public_huggingface(found.path, name=found.name)
    return public if found.entry is None else dataclasses.replace(public, ranges=found.entry.ranges)


def load_ranges_of(name_or_path: str | Path) -> Mapping[str, float]:
    """A model's calibrated ranges, weights unread; empty where it was never calibrated."""
    entry = zoo().get(str(name_or_path))
    if entry is not None:
        return entry.ranges
    path = find_path(name_or_path)
    return load_public_folder(path).ranges if path.is_dir() and is_model_folder(path) else {}


def load_config(name_or_path: str | Path) -> ModelConfig:
    """A model's shape; no weights are read and none need be there.

    Args:
        name_or_path: as for `load_model`.

    Raises:
        ConfigError: no such model (near names are listed), or its files cannot be used.
    """
    entry = zoo().get(str(name_or_path))
    if entry is not None:
        return entry.config
    path = find_path(name_or_path)
    if path.is_file():
        return gguf_config(GgufFile(path))
    if is_model_folder(path):
        return load_model_config(path)
    return load_huggingface_config(path)
