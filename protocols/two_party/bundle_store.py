"""Correlations on disk that two parties made together: bundles, each for one conversation, each used once.

A party's folder has, besides what `protocols.one_time` says:

    prepared.json      for which plan, model and weights, passes of which lengths, how many bundles
    000000.bundle      what making a bundle sent, by kind, and how long the next file is
    000000.parts       this party's part of every correlation, in the order in which passes take them

Neither transfers nor keys nor rows of linear layers outlast their making: what a bundle has is all there is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from parties.documents import from_bytes, to_bytes
from parties.errors import ConfigError, CorrelationExhausted, MalformedFrame
from parties.meter import CLIENT, SERVER
from protocols.arithmetic.shapes import Shape
from protocols.one_time import OneTimeFolder, create_file, replace_file, sync_names
from protocols.two_party.correlations import Parts, Request

MANIFEST, VERSION = "prepared.json", 1
_MAX_HEADER_BYTES, _SIZE_BYTES = 1 << 16, 4
_TYPES = {"int64": torch.int64, "int32": torch.int32, "uint8": torch.uint8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a folder holds.

    Attributes:
        id: 32 hex digits; both parties' folders have the same.
        rank: of the party it is for.
        plan, model: digests of what it was made for.
        lengths: tokens of each pass of a bundle, in order; logits are opened after the last of each.
        count: bundles.
        command: makes more like these.
        weights: digest of the server's weights; empty at the client.
    """

    id: str
    rank: int
    plan: str
    model: str
    lengths: Sequence[int]
    count: int
    command: str
    weights: str
    version: int = VERSION

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """The manifest of a folder; raises ConfigError where there is none, or one of another version."""
        try:
            manifest = cls(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
            lengths = manifest.lengths
            sound = manifest.version == VERSION and manifest.rank in (SERVER, CLIENT) and len(lengths) > 0
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"{folder} has no correlations that `mpcinfer prepare` made: {error}") from None
        if not sound:
            raise ConfigError(f"{folder}: correlations of version {manifest.version}, this is {VERSION}")
        return manifest

    def save(self, folder: Path) -> None:
        """Makes the folder usable; the last step of making it."""
        replace_file(folder / MANIFEST, json.dumps(asdict(self), indent=1).encode())


class WeightDigest:
    """A digest of weights as they are held, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, name: str, weight: torch.Tensor | None, shape: Shape) -> None:
        """The server's weight; of the client's, which are None, name and shape."""
        self._hash.update(to_bytes({"name": name, "shape": list(shape)}))
        if weight is not None:
            self._hash.update(weight.contiguous().numpy().tobytes())

    @property
    def hex(self) -> str:
        """Of all so far."""
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True)
class Charge:
    """What making the correlations of a kind sent: bytes by receiver, and rounds."""

    kind: str
    to_server: int
    to_client: int
    rounds: int


class BundleWriter:
    """A party's part of a bundle that is being made.

    Args:
        folder: must exist.
        index: of the bundle.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self._folder, self._index = folder, index
        self._file, self.size_bytes = create_file(_parts(folder, index)), 0

    def add(self, request: Request, parts: Parts) -> None:
        """The next correlation; raises ConfigError where the disk is full."""
        arrays = [part.contiguous().numpy() for part in parts]
        head = to_bytes(
            {
                "request": _described(request),
                "parts": [[str(array.dtype), list(array.shape)] for array in arrays],
                "digest": _digest(arrays),
            }
        )
        for data in (len(head).to_bytes(_SIZE_BYTES, "little"), head, *(array.tobytes() for array in arrays)):
            try:
                self._file.write(data)
            except OSError as error:
                raise ConfigError(f"{self._folder}: {error}") from None
            self.size_bytes += len(data)

    def end(self, charges: Sequence[Charge]) -> None:
        """The bundle is complete."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self.close()
        except OSError as error:
            raise ConfigError(f"{self._folder}: {error}") from None
        header = {"size": self.size_bytes, "charges": [asdict(charge) for charge in charges]}
        replace_file(_header(self._folder, self._index), to_bytes(header))

    def close(self) -> None:
        """Safe to repeat."""
        self._file.close()


class Bundle:
    """A bundle in use: nobody else will find it on disk any more.

    Attributes:
        charges: what making it sent.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self._name = f"{folder}: bundle {index}"
        try:
            raw = _header(folder, index).read_bytes()
            # Outlives this block: `close` closes it.
            self._file = _parts(folder, index).open("rb")
            for path in _files(folder, index):
                path.unlink(missing_ok=True)
            sync_names(folder)
            self.charges, size = _read_header(raw)
            if os.fstat(self._file.fileno()).st_size != size:
                raise MalformedFrame(f"it has not the {size:,} bytes that it was made with")
        except (OSError, MalformedFrame) as error:
            raise ConfigError(f"{self._name} is damaged: {error}") from None

    def read(self, request: Request) -> Parts:
        """The next correlation.

        Raises:
            CorrelationExhausted: another one was made, or none.
            ConfigError: its files are damaged.
        """
        head = self._file.read(int.from_bytes(self._file.read(_SIZE_BYTES), "little"))
        if not head:
            raise CorrelationExhausted(f"{self._name} is used up, and {request} is needed")
        try:
            correlation = cast("dict[str, Any]", from_bytes(head, _MAX_HEADER_BYTES))
            described, kinds, digest = (correlation[name] for name in ("request", "parts", "digest"))
            if described != _described(request):
                raise CorrelationExhausted(f"{self._name} has {described} next, and {request} is needed")
            parts = tuple(self._part(str(name), list(map(int, shape))) for name, shape in kinds)
            if _digest([part.numpy() for part in parts]) != digest:
                raise MalformedFrame("its numbers are others than were written")
            return parts
        except (MalformedFrame, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise ConfigError(f"{self._name} is damaged: {error}") from None

    def close(self) -> None:
        """Safe to repeat."""
        self._file.close()

    def _part(self, name: str, shape: list[int]) -> torch.Tensor:
        out = torch.empty(shape, dtype=_TYPES[name])
        view = memoryview(cast("Any", out.numpy().reshape(-1).view(np.uint8)))
        if cast("Any", self._file).readinto(view) != len(view):
            raise MalformedFrame("it ends too early")
        return out


class KeptFolder(OneTimeFolder):
    """A party's folder, for one process at a time.

    Raises:
        ConfigError: there is no such folder, it is damaged or open to others, or another process uses it.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest = Manifest.load(folder)
        super().__init__(
            folder, self.manifest.count, self.manifest.command, lambda index: _files(folder, index)
        )
        self.ends = list(accumulate(self.manifest.lengths))

    def open(self, index: int) -> Bundle:
        """Uses a bundle; those before it are lost. See `OneTimeFolder.mark_used` and `Bundle`."""
        self.mark_used(index)
        try:
            return Bundle(self.folder, index)
        finally:
            self.unlink(index)


def _digest(arrays: Sequence[NDArray[Any]]) -> bytes:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _described(request: Request) -> list[Any]:
    return [str(request.kind), [list(shape) for shape in request.shapes], request.bits, request.weight]


def _header(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.bundle"


def _parts(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.parts"


def _files(folder: Path, index: int) -> list[Path]:
    return [_header(folder, index), _parts(folder, index)]


def _read_header(raw: bytes) -> tuple[list[Charge], int]:
    """Charges and the size of the parts; raises MalformedFrame for anything else."""
    header = cast("dict[str, Any]", from_bytes(raw, _MAX_HEADER_BYTES))
    try:
        return [Charge(**charge) for charge in header["charges"]], int(header["size"])
    except (KeyError, TypeError, ValueError):
        raise MalformedFrame("its header is none") from None
