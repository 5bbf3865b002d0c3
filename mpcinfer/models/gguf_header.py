"""What a GGUF file says of itself: its fields, and where its tensors lie.

The `gguf` library reads the same, a memory map a token: two seconds for a vocabulary of 49,152, which server
and client would both wait for. Dequantising is the library's.

Source: the GGUF specification, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parties.errors import ConfigError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_MAX_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies.

    Attributes:
        shape: outermost axis first, in elements.
        kind: GGML's number of its element type.
        start: of its data in the file, in bytes.
    """

    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True, slots=True)
class Header:
    """Fields as int, float, bool, str or lists of those; tensors by name."""

    fields: dict[str, Any]
    tensors: dict[str, TensorInfo]

    @staticmethod
    def of_file(path: Path) -> Header:
        """Reads a file's header; its tensors are not touched.

        Raises:
            ConfigError: it is no GGUF file, of another version or byte order, ends too early, or says
                something twice.
        """
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Cursor(content).header()
        except (ValueError, struct.error, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"{path.name} is not a readable GGUF file: {error}") from error


class _Cursor:
    """Reads a header from its start on; ValueError and struct.error where there is none."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content, self._at = content, 0

    def header(self) -> Header:
        """All of it."""
        if self._bytes(len(_MAGIC)) != _MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self._scalar("<I")
        if version not in _VERSIONS:
            raise ValueError(f"version {version}; known are {_VERSIONS} in little-endian order")
        tensors, fields = self._count(), self._count()
        found: dict[str, Any] = {}
        for _ in range(fields):
            name, value = self._string(), self._value(self._scalar("<I"))
            if name in found:
                raise ValueError(f"field {name} is there twice")
            found[name] = value
        return Header(found, self._tensors(tensors, found.get("general.alignment", _ALIGNMENT)))

    def _tensors(self, count: int, alignment: object) -> dict[str, TensorInfo]:
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise ValueError(f"an alignment of {alignment!r}")
        infos: dict[str, TensorInfo] = {}
        for _ in range(count):
            name, dimensions = self._string(), self._scalar("<I")
            if name in infos or not 1 <= dimensions <= _MAX_DIMENSIONS:
                raise ValueError(f"tensor {name} is there twice, or has {dimensions} axes")
            innermost_first = [self._scalar("<Q") for _ in range(dimensions)]
            infos[name] = TensorInfo(tuple(reversed(innermost_first)), self._scalar("<I"), self._scalar("<Q"))
        start = -(-self._at // alignment) * alignment
        return {name: TensorInfo(info.shape, info.kind, start + info.start) for name, info in infos.items()}

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(self._form(kind))
        kind, count = self._scalar("<I"), self._count()
        if kind == _STRING:
            return [self._string() for _ in range(count)]
        form = self._form(kind)
        raw = self._bytes(count * struct.calcsize(form))
        return list(struct.unpack(f"<{count}{form[1]}", raw))

    @staticmethod
    def _form(kind: int) -> str:
        if kind not in _SCALARS:
            raise ValueError(f"a field of type {kind}")
        return _SCALARS[kind]

    def _count(self) -> int:
        """A number of things that follow, each of a byte at least."""
        count = self._scalar("<Q")
        if count > len(self._content) - self._at:
            raise ValueError(f"it announces {count} entries and ends")
        return count

    def _string(self) -> str:
        return str(self._bytes(self._scalar("<Q")), "utf-8")

    def _bytes(self, count: int) -> bytes:
        start, self._at = self._at, self._at + count
        if self._at > len(self._content):
            raise ValueError("it ends in its header")
        return self._content[start : self._at]

    def _scalar(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._content, self._at)
        self._at += struct.calcsize(form)
        return value
