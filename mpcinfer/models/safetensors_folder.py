"""The tensors of a Hugging Face folder: one safetensors file, or several with an index."""

# The safetensors library is not annotated.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from pathlib import Path
from typing import final

import safetensors
import torch

from mpcinfer.models.fields import Fields
from mpcinfer.models.layout import Checkpoint
from parties.errors import ConfigError

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@final
class SafetensorsFolder(Checkpoint):
    """Named tensors in `model.safetensors`, or in the files that `model.safetensors.index.json` lists.

    Pickle files (`pytorch_model.bin`) are never read: opening one can run code.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the names; tensors are read when asked for.

        Raises:
            ConfigError: there is no safetensors file, a listed one is missing, or one is damaged.
        """
        index = folder / _INDEX
        self._files: dict[str, Path] = {}
        if index.is_file():
            for name, file in Fields.of_file(index).table("weight_map").items():
                if not isinstance(file, str) or Path(file).name != file:
                    raise ConfigError(f"{index}: {name} lies in {file!r}, expected a file of this folder")
                self._files[name] = folder / file
        else:
            single = folder / _SINGLE
            if not single.is_file():
                raise ConfigError(f"{folder} has no model.safetensors (pickle files are never read)")
            self._files = dict.fromkeys(_names(single), single)
        for path in set(self._files.values()):
            absent = {name for name, at in self._files.items() if at == path} - _names(path)
            if absent:
                raise ConfigError(f"{path} has no tensor {min(absent)}, which the index puts there")

    def names(self) -> frozenset[str]:
        """Every tensor there is."""
        return frozenset(self._files)

    def read(self, name: str) -> torch.Tensor:
        """One tensor, as float32.

        Raises:
            ConfigError: it is quantised, that is, none of float64, float32, float16 and bfloat16.
        """
        with safetensors.safe_open(self._files[name], framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
        if tensor.dtype not in _FLOATS:
            raise ConfigError(f"{self._files[name]}: {name} is {tensor.dtype}, expected a float type")
        return tensor.to(torch.float32)


def has_safetensors(folder: Path) -> bool:
    """Whether a folder has weights, in one file or in several."""
    return any(folder.glob("*.safetensors"))


def _names(path: Path) -> set[str]:
    if not path.is_file():
        raise ConfigError(f"{path} is missing")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return set[str](file.keys())  # pyright: ignore[reportUnknownArgumentType]
    except safetensors.SafetensorError as error:
        raise ConfigError(f"{path} is not a readable safetensors file: {error}") from error
