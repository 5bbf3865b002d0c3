"""Models from Hugging Face folders, of the families in `mpcinfer.models.families`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.families.family import Family
from mpcinfer.models.families.label_keys import labels_of
from mpcinfer.models.families.registry import family_of, located, without_weights
from mpcinfer.models.fields import Fields
from mpcinfer.models.huggingface_tokenizer import load_huggingface_tokenizer
from mpcinfer.models.layout import read_weights
from mpcinfer.models.model import Model
from mpcinfer.models.pooling import pooling_of
from mpcinfer.models.public import PublicModel
from mpcinfer.models.safetensors_folder import SafetensorsFolder
from mpcinfer.models.stored_ranges import ranges_beside
from parties.errors import ConfigError

_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


def load_huggingface(folder: Path, *, name: str | None = None) -> Model:
    """A model from a folder with `config.json`, safetensors, a tokenizer and, if there, `ranges.json`.

    Args:
        folder: as `save_pretrained` writes it. Weights become float32.
        name: what to call the model; the folder where it is left out.

    Raises:
        ConfigError: a missing or damaged file, another family, a key that nobody knows or whose value we
            cannot represent, or an adapter beside the weights.
    """
    fields = _fields(folder)
    family = family_of(fields)
    fields = family.settled(fields)
    config, checkpoint = _shape(folder, family, fields), SafetensorsFolder(folder)
    layout = located(family, config, family.layout(fields, config), checkpoint.names())
    public = load_public_huggingface(folder, name=name)
    return Model(
        name=public.name,
        config=config,
        weights=read_weights(config, layout, checkpoint, ignored=without_weights(family, config)),
        tokenizer=public.tokenizer,
        ranges=public.ranges,
        labels=public.labels,
    )


def load_public_huggingface(folder: Path, *, name: str | None = None) -> PublicModel:
    """Everything but the weights, which are not read. Arguments and errors as `load_huggingface`."""
    config = load_huggingface_config(folder)
    return PublicModel(
        name=name or str(folder),
        config=config,
        tokenizer=load_huggingface_tokenizer(folder, vocabulary=config.vocabulary),
        ranges=ranges_beside(folder),
        labels=labels_of(_fields(folder)) if config.head == "classes" else (),
    )


def load_huggingface_config(folder: Path) -> ModelConfig:
    """The shape alone, from `config.json`.

    Raises:
        ConfigError: naming the key that is missing, unknown, or whose value we cannot represent.
    """
    fields = _fields(folder)
    family = family_of(fields)
    return _shape(folder, family, family.settled(fields))


def _shape(folder: Path, family: Family, fields: Fields) -> ModelConfig:
    """With the pooling that the folder says; fields are settled."""
    config = family.shape(fields)
    if config.head != "embedding":
        return config
    return dataclasses.replace(config, pooling=pooling_of(folder))


def _fields(folder: Path) -> Fields:
    for name in _ADAPTERS:
        if (folder / name).exists():
            raise ConfigError(
                f"{folder / name}: adapters are not applied; merge it into the weights (merge_and_unload)"
            )
    return Fields.of_file(folder / "config.json")
