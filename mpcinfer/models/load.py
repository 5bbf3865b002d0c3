"""A model by name or path, whatever form it is in."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folder import load_model_folder, load_public_folder
from mpcinfer.models.folder_config import is_model_folder, load_model_config
from mpcinfer.models.gguf import GgufFile, gguf_config, load_gguf, load_public_gguf
from mpcinfer.models.huggingface import is_huggingface_folder, load_huggingface, load_huggingface_config
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.zoo import ZooEntry, zoo
from parties.errors import ConfigError


def load_model(name_or_path: str | Path) -> Model:
    """A model with its weights and tokenizer.

    Args:
        name_or_path: a name from `zoo()`, one of our model folders, a Hugging Face folder, or a `.gguf`
            file. A name wins over a path spelt alike; write `./gpt2` for the path.

    Raises:
        ConfigError: no such model (near names are listed), only its shape is known, its weights are not
            installed, or its files cannot be used.
    """
    entry = zoo().get(name := str(name_or_path))
    path = _existing(name_or_path) if entry is None else _files(entry)
    if path.is_file():
        model = load_gguf(path, name=name)
    elif is_model_folder(path):
        model = load_model_folder(path, name=name)
    else:
        model = load_huggingface(path)
    return model if entry is None else dataclasses.replace(model, ranges=entry.ranges)


def load_public(name_or_path: str | Path) -> PublicModel:
    """What a client needs: shape, tokenizer and ranges.

    Weights are not read, and of one of our own folders they need not be there; a Hugging Face folder is
    loaded whole. Arguments and errors as `load_model`.
    """
    entry = zoo().get(name := str(name_or_path))
    path = _existing(name_or_path) if entry is None else _files(entry)
    if path.is_file():
        public = load_public_gguf(path, name=name)
    elif is_model_folder(path):
        public = load_public_folder(path, name=name)
    else:
        public = PublicModel.of(load_huggingface(path))
    return public if entry is None else dataclasses.replace(public, ranges=entry.ranges)


def load_ranges_of(name_or_path: str | Path) -> Mapping[str, float]:
    """A model's calibrated ranges, weights unread; empty where it was never calibrated."""
    entry = zoo().get(str(name_or_path))
    if entry is not None:
        return entry.ranges
    path = _existing(name_or_path)
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
    path = _existing(name_or_path)
    if path.is_file():
        return gguf_config(GgufFile(path))
    if is_model_folder(path):
        return load_model_config(path)
    return load_huggingface_config(path)


def _files(entry: ZooEntry) -> Path:
    """Where a named model's weights are; raises ConfigError where they are not."""
    if entry.files is not None:
        return entry.files
    if entry.command:
        raise ConfigError(
            f"the weights of {entry.name} are not installed; install them with: {entry.command}"
        )
    raise ConfigError(f"{entry.name} is known by its shape only and has no weights to run; it can be billed")


def _existing(name_or_path: str | Path) -> Path:
    """A path that is a `.gguf` file or a model folder of either kind."""
    path = Path(name_or_path)
    if path.is_dir():
        if is_model_folder(path) or is_huggingface_folder(path):
            return path
        raise ConfigError(
            f"{path} is no model folder: it has no config.json of ours or of Hugging Face's form"
        )
    if path.is_file():
        if path.suffix == ".gguf":
            return path
        raise ConfigError(f"{path} is no model: expected a folder or a .gguf file")
    known = zoo()
    near = difflib.get_close_matches(str(name_or_path).lower(), known, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"known names: {', '.join(known)}"
    raise ConfigError(f"no model named {str(name_or_path)!r}, and no such path; {hint}")
