"""Our own model folder: what `mpcinfer train` writes, what a shipped model is, and how both are read back.

config.json             the shape: every field of `ModelConfig`
model.safetensors       the weights under our names, float16 or float32 on disk
tokenizer.json          the tokenizer, in the format of the `tokenizers` library
tokenizer_config.json   stop ids, chat templates, special tokens by name, how decoding treats spaces
ranges.json             optional: label -> largest magnitude seen
README.md               the model card
digests.json            only without weights, in a folder that `mpcinfer publish` wrote
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from mpcinfer.models.folder_config import (
    CONFIG_FILE,
    RANGES_FILE,
    json_object,
    load_model_config,
    read_file,
)
from mpcinfer.models.labels import labels_from
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.published_digests import require_as_published
from mpcinfer.models.stored_ranges import ranges_beside, save_ranges
from mpcinfer.models.stored_tokenizer import settings_of, tokenizer_from
from parties.errors import ConfigError

WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
CARD_FILE = "README.md"


def save_model(
    folder: Path | str, model: Model, dtype: torch.dtype = torch.float16, *, card: str | None = None
) -> None:
    """Writes a model folder, creating it where absent; other files in it stay.

    Each file is written beside its place and renamed, so that a reader never sees half a file. The
    configuration comes last: a folder whose first save was cut short has none and does not load.

    Args:
        folder: where to write.
        model: weights are rounded to `dtype`; its ranges are written where there are any.
        dtype: float16 (half the size; magnitudes up to 65,504) or float32.
        card: the model card (Markdown); None leaves the card as it is.

    Raises:
        ConfigError: another dtype, or a weight that `dtype` cannot hold.
    """
    if dtype not in (torch.float16, torch.float32):
        raise ConfigError(f"weights are saved as float16 or float32, not {dtype}")
    weights = {name: weight.detach().to(dtype).contiguous() for name, weight in model.weights.items()}
    for name, weight in weights.items():
        if not bool(torch.isfinite(weight).all()):
            raise ConfigError(f"{model.name}: {name} has values that {dtype} cannot hold")
    tokenizer, labels = model.tokenizer, {"labels": list(model.labels)} if model.labels else {}
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    _replace(path / WEIGHTS_FILE, safetensors.torch.save(weights))
    _replace(path / TOKENIZER_FILE, tokenizer.backend.to_str().encode())
    _replace(path / TOKENIZER_CONFIG_FILE, _json_bytes({**settings_of(tokenizer), **labels}))
    if model.ranges:
        replace_file(path / RANGES_FILE, lambda part: save_ranges(part, model.ranges))
    else:
        (path / RANGES_FILE).unlink(missing_ok=True)
    if card is not None:
        _replace(path / CARD_FILE, card.encode())
    _replace(path / CONFIG_FILE, _json_bytes(model.config.to_json()))


def load_model_folder(folder: Path | str, *, name: str | None = None) -> Model:
    """Reads a folder that `save_model` wrote; weights become float32.

    Args:
        folder: the model folder.
        name: what to call the model; the folder as given by default.

    Raises:
        ConfigError: a file is missing or cannot be read, or the files do not fit each other; the message
            names the file.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError(f"no model folder at {path}")
    public = load_public_folder(path, name=name if name is not None else str(folder))
    return Model(
        name=public.name,
        config=public.config,
        weights=_load_weights(path / WEIGHTS_FILE),
        tokenizer=public.tokenizer,
        ranges=public.ranges,
        labels=public.labels,
    )


def load_public_folder(folder: Path | str, *, name: str | None = None) -> PublicModel:
    """Everything but the weights, which need not be there. Arguments and errors as `load_model_folder`."""
    path = Path(folder)
    require_as_published(path)
    config = load_model_config(path)
    text, source = _tokenizer_text(path), path / TOKENIZER_CONFIG_FILE
    settings = json_object(source)
    tokenizer = tokenizer_from(text, settings, config.vocabulary, str(path / TOKENIZER_FILE), str(source))
    return PublicModel(
        name=name if name is not None else str(folder),
        config=config,
        tokenizer=tokenizer,
        ranges=ranges_beside(path),
        tokenizer_text=text,
        labels=labels_from(settings.get("labels", []), config.classes, str(source)),
    )


def _tokenizer_text(path: Path) -> str:
    return read_file(path / TOKENIZER_FILE).decode(errors="replace")


def _load_weights(source: Path) -> dict[str, torch.Tensor]:
    try:
        stored = safetensors.torch.load(read_file(source))
    except safetensors.SafetensorError as error:
        raise ConfigError(f"{source}: not a safetensors file: {error}") from error
    return {name: weight.to(torch.float32) for name, weight in stored.items()}


def _json_bytes(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _replace(target: Path, content: bytes) -> None:
    replace_file(target, lambda part: part.write_bytes(content))


def replace_file(target: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a file beside `target`, then renames it into place; no half file is left behind."""
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        write(part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
