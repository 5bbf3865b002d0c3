"""Adapters and their shares as files: safetensors, with what they are for in the header."""

# The safetensors library is not annotated.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

import safetensors
import safetensors.torch
import torch

from mpcinfer.models.attention_state import FeatureMap
from mpcinfer.models.prefix_formats import features_named
from mpcinfer.models.public import PublicModel
from mpcinfer.new_file import require_new_file
from mpcinfer.prefix.adapter import PrefixAdapter, model_digest
from mpcinfer.prefix.part import PAIR_BYTES, PrefixPart
from parties.errors import ConfigError
from parties.randomness import Randomness

_ENTRY, _VERSION = "mpcinfer.prefix", 1
_MOST_HEADER = 1 << 16


def save_adapter(adapter: PrefixAdapter, path: Path) -> None:
    """Writes an adapter.

    Raises:
        ConfigError: there is such a file, or it cannot be written.
    """
    told = {
        "kind": "adapter",
        "features": adapter.features,
        "model": adapter.model,
        "made_by": adapter.made_by,
        "measured": dict(adapter.measured),
    }
    _write(path, adapter.sums, adapter.beside, told)


def load_adapter(path: Path) -> PrefixAdapter:
    """Reads an adapter.

    Raises:
        ConfigError: the file cannot be read, or is none.
    """
    told, sums, beside = _read(path)
    if told.get("kind") != "adapter":
        raise ConfigError(
            f"{path} is one share of a prefix: here the adapter itself is wanted; shares are for `serve` "
            "and its clients"
        )
    measured = told.get("measured")
    if not isinstance(measured, dict):
        raise ConfigError(f"{path}: measured is no table")
    table = cast(dict[str, Any], measured)
    if not all(isinstance(value, int | float) for value in table.values()):
        raise ConfigError(f"{path}: measured has something else than numbers")
    return PrefixAdapter(
        features=_features(told, path),
        sums=tuple(each.double() for each in sums),
        beside=tuple(each.double() for each in beside),
        model=str(told.get("model", "")),
        made_by=str(told.get("made_by", "")),
        measured={str(name): float(value) for name, value in table.items()},
    )


Side = Literal["client", "server"]
"""Whose share it is."""


def split_adapter(
    adapter: PrefixAdapter, public: PublicModel, paths: tuple[Path, Path], randomness: Randomness
) -> None:
    """Writes two shares, each uniform on Z_2^64 by itself: of the second, what is left is the first's.

    Args:
        public: the model that it is for.
        paths: of the client's and of the server's.
        randomness: where uniform words come from.

    Raises:
        ConfigError: the adapter is not for the model, or a file is there already.
        RangeError: private runs do not hold it.

    Reveals: to each, features and shapes. Both together have the prefix's states.
    """
    whole, pair = PrefixPart.owned(adapter, public), randomness.draw_bytes(PAIR_BYTES).hex()
    masks = [
        [torch.from_numpy(randomness.words(tuple(each.shape), 64)) for each in tensors]
        for tensors in (whole.sums, whole.beside)
    ]
    rest = [
        [each - mask for each, mask in zip(tensors, own, strict=True)]
        for tensors, own in zip((whole.sums, whole.beside), masks, strict=True)
    ]
    told = {"kind": "share", "features": adapter.features, "model": adapter.model, "pair": pair}
    if paths[0].absolute() == paths[1].absolute():
        raise ConfigError(f"{paths[0]}: two shares want two files")
    for path in paths:
        require_new_file(path)
    for path, side, (sums, beside) in zip(paths, get_args(Side), (rest, masks), strict=True):
        _write(path, sums, beside, {**told, "side": side})


def load_part(text: str, public: PublicModel, side: Side) -> PrefixPart:
    """What a party has of a prefix, as the command line says it.

    Args:
        text: the file of an adapter or of a share; or the name of features, where the other party has it all.
        public: the model that is run.
        side: the party that this is.

    Raises:
        ConfigError: the file cannot be read, is none, is for another model or attention, or is the other
            party's share.
        RangeError: private runs do not hold it.
    """
    if text in get_args(FeatureMap):
        features = features_named(text)
        assert features is not None
        return PrefixPart.none(features, public)
    path = Path(text)
    told, sums, beside = _read(path)
    if told.get("kind") != "share":
        return PrefixPart.owned(load_adapter(path), public)
    if told.get("model") != model_digest(public):
        raise ConfigError(f"{path} is a share of a prefix for another model than {public.name}")
    if told.get("side") != side:
        raise ConfigError(f"{path} is not the {side}'s share of its prefix: the other party wants it")
    pair = str(told.get("pair", ""))
    if re.fullmatch(f"[0-9a-f]{{{2 * PAIR_BYTES}}}", pair) is None:
        raise ConfigError(f"{path} does not say which split it is of")
    part = PrefixPart(features=_features(told, path), sums=sums, beside=beside, pair=pair)
    part.require_for(public)
    if any(each.dtype != torch.int64 for each in (*sums, *beside)):
        raise ConfigError(f"{path}: a share has integers of 64 bits")
    return part


def _write(
    path: Path, sums: Sequence[torch.Tensor], beside: Sequence[torch.Tensor], told: Mapping[str, Any]
) -> None:
    tensors = {f"layer{i}.sums": each.contiguous() for i, each in enumerate(sums)}
    tensors |= {f"layer{i}.beside": each.contiguous() for i, each in enumerate(beside)}
    header = {_ENTRY: json.dumps({"version": _VERSION, **told}, sort_keys=True)}
    content = safetensors.torch.save(tensors, header)
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # its owner's secret
        with os.fdopen(opened, "wb") as file:
            file.write(content)
    except FileExistsError:
        raise ConfigError(f"{path} is there already, and is not overwritten") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _read(path: Path) -> tuple[dict[str, Any], list[torch.Tensor], list[torch.Tensor]]:
    """The header, and every layer's tensors."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such prefix, or name of features ({', '.join(get_args(FeatureMap))})")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = cast(dict[str, str] | None, file.metadata())
            names = list[str](file.keys())  # pyright: ignore[reportUnknownArgumentType]
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, OSError) as error:
        raise ConfigError(f"{path} is not a readable safetensors file: {error}") from error
    told = _header(metadata or {}, path)
    layers = sum(name.endswith(".sums") for name in tensors)
    sums = [f"layer{i}.sums" for i in range(layers)]
    beside = [f"layer{i}.beside" for i in range(len(tensors) - layers)]
    if not layers or set(tensors) != {*sums, *beside}:
        raise ConfigError(f"{path}: states are not those of layers from 0 on")
    return told, [tensors[name] for name in sums], [tensors[name] for name in beside]


def _header(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    text = metadata.get(_ENTRY, "")
    try:
        told: object = json.loads(text[:_MOST_HEADER])
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or cast(dict[str, Any], told).get("version") != _VERSION:
        raise ConfigError(f"{path} is no prefix of `mpcinfer prefix`")
    return cast(dict[str, Any], told)


def _features(told: Mapping[str, Any], path: Path) -> FeatureMap:
    features = features_named(told.get("features"))
    if features is None:
        raise ConfigError(f"{path} does not say which features it has")
    return features
