"""An open GGUF file: its fields, and its tensors, dequantised."""

# The gguf library is not fully annotated.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from mpcinfer.models.gguf_header import Header
from mpcinfer.models.layout import Checkpoint
from parties.errors import ConfigError


@final
class GgufFile(Checkpoint):
    """An open GGUF file: its fields as Python values and its tensors, dequantised on reading."""

    def __init__(self, path: Path) -> None:
        """Reads the fields; tensors are read when asked for.

        Raises:
            ConfigError: the file is absent or is not GGUF.
        """
        if not path.is_file():
            raise ConfigError(f"no such file: {path}")
        self.path, self._header = path, Header.of_file(path)
        self._content: NDArray[np.uint8] | None = None

    @property
    def fields(self) -> Mapping[str, Any]:
        """Every field by its key."""
        return self._header.fields

    def keys(self) -> frozenset[str]:
        """The names of all fields."""
        return frozenset(self._header.fields)

    def field(self, key: str, default: Any = None) -> Any:
        """A field as int, float, bool, str or a list of those; `default` where it is absent."""
        return self._header.fields.get(key, default)

    def need(self, key: str) -> Any:
        """A field that must be there."""
        value = self.field(key)
        if value is None:
            raise ConfigError(f"{self.path.name} has no field {key}")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number; required where there is no default."""
        value = self.need(key) if default is None else self.field(key, default)
        if not isinstance(value, int):
            raise ConfigError(f"{self.path.name}: {key} is {value!r}, expected one whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A number, as the short decimal that a float32 was written from: 1e-05, not 9.999999747378752e-06.
        Required where there is no default."""
        value = self.need(key) if default is None else self.field(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise ConfigError(f"{self.path.name}: {key} is {value!r}, expected a number")
        return float(str(np.float32(value)))

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.field(key, default)
        if not isinstance(value, bool):
            raise ConfigError(f"{self.path.name}: {key} is {value!r}, expected true or false")
        return value

    def names(self) -> frozenset[str]:
        """Every tensor there is."""
        return frozenset(self._header.tensors)

    def read(self, name: str) -> torch.Tensor:
        """One tensor, dequantised to float32, matrices as [out, in].

        Raises:
            ConfigError: its type is unknown or cannot be dequantised, or the file ends before it does.
        """
        import gguf  # imports slowly, and a client does without

        if self._content is None:
            # A plain array over the map: slices of a memmap are slow to make, and the library makes many.
            self._content = np.asarray(np.memmap(self.path, np.uint8, "r"))
        info = self._header.tensors[name]
        try:
            kind = gguf.GGMLQuantizationType(info.kind)
            block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
            rows, columns = info.shape[:-1], info.shape[-1]
            if columns % block:
                raise ValueError(f"rows of {columns} are no blocks of {block}")
            size = math.prod(rows) * (columns // block) * block_bytes
            data = self._content[info.start : info.start + size]
            if data.size != size:
                raise ValueError("the file ends before it does")
            values = gguf.quants.dequantize(data.reshape(*rows, -1), kind)
        except NotImplementedError as error:
            raise ConfigError(f"{self.path.name}: {name}: cannot dequantise type {info.kind}") from error
        except ValueError as error:
            raise ConfigError(f"{self.path.name}: {name}: {error}") from error
        # A copy where it is the map itself, which nobody may write.
        return torch.from_numpy(np.require(values, np.float32, ["W", "C"]))
