"""A model by name or path: whatever form it is in, the same after loading."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.find import find_model, find_path
from mpcinfer.models.folder import WEIGHTS_FILE, load_model_folder, load_public_folder
from mpcinfer.models.folder_config import is_model_folder, load_model_config
from mpcinfer.models.gguf import load_gguf, load_public_gguf
from mpcinfer.models.gguf_architectures import gguf_config
from mpcinfer.models.gguf_file import GgufFile
from mpcinfer.models.huggingface import (
    load_huggingface,
    load_huggingface_config,
    load_public_huggingface,
)
from mpcinfer.models.model import Model
from mpcinfer.models.patterns_file import PatternsFile
from mpcinfer.models.public import PublicModel
from mpcinfer.models.safetensors_folder import has_safetensors
from mpcinfer.models.stored_ranges import ranges_beside
from mpcinfer.models.zoo import zoo
from parties.errors import ConfigError

ModelT = TypeVar("ModelT", Model, PublicModel)


@dataclass(frozen=True, slots=True)
class _Form:
    """How files of one form are read. Ranges lie beside all of them alike: `ranges_beside`."""

    model: Callable[[Path, str], Model]
    public: Callable[[Path, str], PublicModel]
    config: Callable[[Path], ModelConfig]
    has_weights: Callable[[Path], bool]


_OURS = _Form(
    lambda path, name: load_model_folder(path, name=name),
    lambda path, name: load_public_folder(path, name=name),
    load_model_config,
    lambda path: (path / WEIGHTS_FILE).is_file(),
)
_HUGGING_FACE = _Form(
    lambda path, name: load_huggingface(path, name=name),
    lambda path, name: load_public_huggingface(path, name=name),
    load_huggingface_config,
    has_safetensors,
)
_GGUF = _Form(
    lambda path, name: load_gguf(path, name=name),
    lambda path, name: load_public_gguf(path, name=name),
    lambda path: gguf_config(GgufFile(path)),
    lambda path: True,
)


def _form_of(path: Path) -> _Form:
    """The form of files that `find_path` found."""
    if path.is_file():
        return _GGUF
    return _OURS if is_model_folder(path) else _HUGGING_FACE


def load_model(name_or_path: str | Path) -> Model:
    """A model with its weights and tokenizer.

    Args:
        name_or_path: as for `find_model`.

    Raises:
        ConfigError: as `find_model`; its files cannot be used, hold no weights, or one that is not finite.
    """
    found = find_model(name_or_path)
    form = _form_of(found.path)
    if not form.has_weights(found.path):
        raise ConfigError(
            f"{found.name} has no weights (safetensors): it is what a client may have, and can be asked for "
            "at a server, billed and dealt for. Whoever has the weights serves the folder they are in"
        )
    model = form.model(found.path, found.name)
    require_finite(model.name, model.weights)
    model = model if found.entry is None else dataclasses.replace(model, ranges=found.entry.ranges)
    return _patterned(model, name_or_path)


def load_public(name_or_path: str | Path) -> PublicModel:
    """What a client needs: shape, tokenizer and ranges.

    Weights are not read, and in a folder they need not be there. Arguments and errors as `load_model`.
    """
    found = find_model(name_or_path)
    public = _form_of(found.path).public(found.path, found.name)
    public = public if found.entry is None else dataclasses.replace(public, ranges=found.entry.ranges)
    return _patterned(public, name_or_path)


def _patterned(model: ModelT, name_or_path: str | Path) -> ModelT:
    """The model with the key patterns and ranges of a file, where that is what was named."""
    if (sparse := PatternsFile.of(name_or_path)) is None:
        return model
    return dataclasses.replace(model, config=sparse.config(model.config), ranges=sparse.ranges)


def load_ranges_of(name_or_path: str | Path) -> Mapping[str, float]:
    """A model's calibrated ranges, weights unread; empty where it was never calibrated."""
    if (sparse := PatternsFile.of(name_or_path)) is not None:
        return sparse.ranges
    entry = zoo().get(str(name_or_path))
    return ranges_beside(find_path(name_or_path)) if entry is None else entry.ranges


def load_config(name_or_path: str | Path) -> ModelConfig:
    """A model's shape; no weights are read and none need be there.

    Args:
        name_or_path: as for `load_model`.

    Raises:
        ConfigError: no such model (near names are listed), or its files cannot be used.
    """
    if (sparse := PatternsFile.of(name_or_path)) is not None:
        return sparse.config(load_config(sparse.base))
    entry = zoo().get(str(name_or_path))
    if entry is not None:
        return entry.config
    path = find_path(name_or_path)
    return _form_of(path).config(path)


def has_weights(name_or_path: str | Path) -> bool:
    """Whether a model's weights are on this machine; ConfigError where there is no such model."""
    if (sparse := PatternsFile.of(name_or_path)) is not None:
        return has_weights(sparse.base)
    entry = zoo().get(str(name_or_path))
    path = find_path(name_or_path) if entry is None else entry.files
    return path is not None and _form_of(path).has_weights(path)


def require_finite(name: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Raises ConfigError that names a weight with values that are infinite or not numbers."""
    for label, weight in weights.items():
        if not bool(torch.isfinite(weight).all()):
            wrong = weight[~torch.isfinite(weight)]
            raise ConfigError(
                f"{name}: weight {label} has {wrong.numel():,} values that are no finite numbers, the first "
                f"{float(wrong[0])}; such a model computes nothing"
            )
