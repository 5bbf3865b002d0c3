"""Our own model folder: what `mpcinfer train` writes, what a shipped model is, and how both are read back.

config.json             the shape: every field of `ModelConfig`
model.safetensors       the weights under our names, float16 or float32 on disk
tokenizer.json          the byte-level BPE, in the format of the `tokenizers` library
tokenizer_config.json   bos, stop ids, chat template
ranges.json             optional: label -> largest magnitude seen
README.md               the model card
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import cast

import safetensors
import safetensors.torch
import tokenizers
import torch

from mpcinfer.models.folder_config import (
    CONFIG_FILE,
    RANGES_FILE,
    json_object,
    load_model_config,
    read_file,
)
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.stored_ranges import load_ranges, save_ranges
from mpcinfer.tokenizer import Tokenizer
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
    tokenizer = model.tokenizer
    settings = {
        "bos": tokenizer.bos,
        **({"suffix": list(tokenizer.suffix)} if tokenizer.suffix else {}),
        **({"labels": list(model.labels)} if model.labels else {}),
        "stop": sorted(tokenizer.stop),
        "chat_template": tokenizer.chat_template,
        "special": dict(tokenizer.special),
    }
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    _replace(path / WEIGHTS_FILE, safetensors.torch.save(weights))
    _replace(path / TOKENIZER_FILE, tokenizer.backend.to_str().encode())
    _replace(path / TOKENIZER_CONFIG_FILE, _json_bytes(settings))
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
    config = load_model_config(path)
    tokenizer = _load_tokenizer(path)
    if tokenizer.backend.get_vocab_size() > config.vocabulary:
        raise ConfigError(
            f"{path / TOKENIZER_FILE}: {tokenizer.backend.get_vocab_size()} tokens, but the model has "
            f"{config.vocabulary}"
        )
    return PublicModel(
        name=name if name is not None else str(folder),
        config=config,
        tokenizer=tokenizer,
        ranges=_load_ranges(path / RANGES_FILE),
        labels=_load_labels(path / TOKENIZER_CONFIG_FILE),
    )


def _load_labels(source: Path) -> tuple[str, ...]:
    labels: object = json_object(source).get("labels", [])
    _require(isinstance(labels, list), source, f"labels must be a list of texts, got {labels!r}")
    names = cast("list[object]", labels)
    _require(all(isinstance(name, str) for name in names), source, "labels must be a list of texts")
    return tuple(cast("list[str]", names))


def _load_tokenizer(path: Path) -> Tokenizer:
    text = read_file(path / TOKENIZER_FILE).decode(errors="replace")
    try:
        backend = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise ConfigError(f"{path / TOKENIZER_FILE}: not a tokenizer: {error}") from error
    source = path / TOKENIZER_CONFIG_FILE
    settings = json_object(source)
    bos, stop, template = settings.get("bos"), settings.get("stop", []), settings.get("chat_template")
    _require(bos is None or _is_id(bos), source, f"bos must be a token id or null, got {bos!r}")
    _require(isinstance(stop, list), source, f"stop must be a list of token ids, got {stop!r}")
    ids = cast("list[object]", stop)
    _require(all(_is_id(token) for token in ids), source, f"stop must be a list of token ids, got {stop!r}")
    suffix: object = settings.get("suffix", [])
    _require(isinstance(suffix, list), source, f"suffix must be a list of token ids, got {suffix!r}")
    after = cast("list[object]", suffix)
    _require(all(_is_id(token) for token in after), source, f"suffix must be a list of ids, got {suffix!r}")
    _require(template is None or isinstance(template, str), source, "chat_template must be text or null")
    special: object = settings.get("special", {})
    _require(isinstance(special, dict), source, f"special must be an object of texts, got {special!r}")
    texts = cast("dict[str, object]", special)
    _require(
        all(isinstance(text, str) for text in texts.values()), source, "special must be an object of texts"
    )
    return Tokenizer(
        backend=backend,
        bos=bos,
        suffix=tuple(cast("list[int]", after)),
        stop=frozenset(cast("list[int]", ids)),
        chat_template=template,
        special=cast("dict[str, str]", special),
    )


def _load_weights(source: Path) -> dict[str, torch.Tensor]:
    try:
        stored = safetensors.torch.load(read_file(source))
    except safetensors.SafetensorError as error:
        raise ConfigError(f"{source}: not a safetensors file: {error}") from error
    return {name: weight.to(torch.float32) for name, weight in stored.items()}


def _load_ranges(source: Path) -> dict[str, float]:
    return load_ranges(source) if source.exists() else {}


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _require(condition: bool, source: Path, problem: str) -> None:
    if not condition:
        raise ConfigError(f"{source}: {problem}")


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
