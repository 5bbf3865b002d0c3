"""Correlations on disk, dealt before anybody asks: bundles, each for one conversation, each used once.

A folder belongs to one party:

    correlations.json    what was dealt: for which model, passes of which lengths, how many bundles
    next             number of the first bundle that was never used
    weights          digest of the weights that the folder's masks hide; at the server, from the first use on
    000000.bundle    seeds and sizes of a bundle; its correlations are in 000000.gates and 000000.linear

How they are used once, whatever happens: `protocols.one_time`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from parties.documents import from_bytes, to_bytes
from parties.errors import ConfigError, CorrelationExhausted, MalformedFrame, PeerMismatch
from parties.meter import CLIENT, SERVER
from protocols.fss.preprocessing.correlations import Writer
from protocols.fss.preprocessing.seeds import PartySeeds
from protocols.fss.preprocessing.transport import Dealt, Part
from protocols.one_time import OneTimeFolder, create_file, replace_file, sync_names
from protocols.seeding import SEED_BYTES

VERSION = 2
MANIFEST, _WEIGHTS = "correlations.json", "weights"
_MAX_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a folder holds.

    Attributes:
        id: 32 hex digits; both parties' folders have the same.
        rank: of the party it is for.
        session: what was dealt for, as the dealer of a session is told.
        lengths: tokens of each pass of a bundle, in order.
        count: bundles that were dealt.
        command: makes more like these.
        weights: at the server, the seed of the weights' masks in hex digits; empty at the client.
    """

    id: str
    rank: int
    session: Mapping[str, Any]
    lengths: Sequence[int]
    count: int
    command: str
    weights: str = field(default="", repr=False)
    version: int = VERSION

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """The manifest of a folder.

        Raises:
            ConfigError: there is none, or of another version.
        """
        try:
            fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            manifest = cls(**fields)
            sound = manifest.version == VERSION and manifest.rank in (SERVER, CLIENT)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"{folder} has no correlations that `mpcinfer deal` made: {error}") from None
        if not sound:
            raise ConfigError(f"{folder}: correlations of version {manifest.version}, this is {VERSION}")
        return manifest

    def save(self, folder: Path) -> None:
        """Makes the folder usable; the last step of dealing."""
        text = json.dumps({**asdict(self), "lengths": list(self.lengths)}, indent=1)
        replace_file(folder / MANIFEST, text.encode())


class BundleWriter:
    """One party's part of a bundle that is being dealt.

    Args:
        folder: must exist.
        index: of the bundle.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self._folder, self._index = folder, index
        self._files = {part: create_file(_part(folder, index, part)) for part in Part}

    def writer(self, part: Part) -> Writer:
        """Where a part's bytes go.

        Raises:
            ConfigError: the disk is full (when written to).
        """
        file = self._files[part]

        def write(data: NDArray[np.uint8]) -> None:
            try:
                file.write(data.data)
            except OSError as error:
                raise ConfigError(f"{self._folder}: {error}") from None

        return write

    def end(self, seeds: PartySeeds, dealt: Sequence[Dealt]) -> None:
        """The bundle is complete."""
        self.close()
        header = {
            "hash": seeds.hash,
            "main": seeds.main,
            "dealt": [sizes.to_plain() for sizes in dealt],
        }
        replace_file(_header(self._folder, self._index), to_bytes(header))

    def close(self) -> None:
        """Safe to repeat."""
        for file in self._files.values():
            file.close()


class Section:
    """Some bytes of a file that several read at once, each from a place of its own."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor, self._offset = descriptor, offset

    def readinto(self, buffer: memoryview, /) -> int:
        """Fills the buffer as far as the file goes; how many bytes there were."""
        whole = buffer.cast("B") if buffer.nbytes else buffer
        done = 0
        while done < whole.nbytes:
            got = os.preadv(self._descriptor, [whole[done:]], self._offset)
            if not got:
                break
            done, self._offset = done + got, self._offset + got
        return done

    def close(self) -> None:
        """The bundle closes the file."""


class Bundle:
    """A bundle in use: nobody else will find it on disk any more.

    Attributes:
        seeds: this party's.
        dealt: sizes of each pass.
    """

    def __init__(self, folder: Path, index: int, manifest: Manifest) -> None:
        self._descriptors: dict[Part, int] = {}
        try:
            with _header(folder, index).open("rb") as header_file:
                for part in Part:
                    self._descriptors[part] = os.open(_part(folder, index, part), os.O_RDONLY)
                for path in _files(folder, index):
                    path.unlink(missing_ok=True)
                sync_names(folder)
                header = _read_header(header_file.read(), len(manifest.lengths))
            self.dealt = [Dealt.of(sizes) for sizes in header["dealt"]]
            self.seeds = PartySeeds(header["hash"], header["main"])
            for part in Part:
                sizes = [d.to_party(manifest.rank)[part] for d in self.dealt]
                _require_size(folder, self._descriptors[part], sizes)
        except (OSError, MalformedFrame, PeerMismatch) as error:
            self.close()
            raise ConfigError(f"{folder}: bundle {index} is damaged: {error}") from None
        except BaseException:
            self.close()
            raise
        self._rank = manifest.rank

    def section(self, part: Part, run: int) -> tuple[Section, int]:
        """A pass's bytes, and how many there are."""
        sizes = [dealt.to_party(self._rank)[part] for dealt in self.dealt]
        return Section(self._descriptors[part], sum(sizes[:run])), sizes[run]

    def close(self) -> None:
        """Safe to repeat."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


class Store(OneTimeFolder):
    """A party's folder, for one process at a time.

    Args:
        folder: made by `mpcinfer deal`.

    Raises:
        ConfigError: there is no such folder, it is damaged or open to others, or another process uses it.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest = Manifest.load(folder)
        super().__init__(
            folder, self.manifest.count, self.manifest.command, lambda index: _files(folder, index)
        )

    def take(self, index: int) -> Bundle:
        """Uses a bundle; those before it are lost.

        1. The counter goes past it, on disk.  2. Its files are opened, and lose their names.  3. It is read.

        Raises:
            CorrelationExhausted: it was used before, or there is none of that number.
            ConfigError: its files are damaged.
        """
        self.mark_used(index)
        try:
            return Bundle(self.folder, index, self.manifest)
        finally:
            self.unlink(index)

    def bind_weights(self, digest: str) -> None:
        """The folder's masks hide these weights and no others: two that one mask hid could be compared.

        Raises:
            CorrelationExhausted: they were used with other weights before.
        """
        path = self.folder / _WEIGHTS
        if not path.exists():
            replace_file(path, digest.encode())
        elif path.read_text() != digest:
            raise CorrelationExhausted(
                f"{self.folder}: its masks hid other weights before; deal anew: {self.manifest.command}"
            )


def _header(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.bundle"


def _part(folder: Path, index: int, part: Part) -> Path:
    return folder / f"{index:06d}.{part.name.lower()}"


def _files(folder: Path, index: int) -> list[Path]:
    return [_header(folder, index), *(_part(folder, index, part) for part in Part)]


def _read_header(raw: bytes, runs: int) -> dict[str, Any]:
    """Seeds and sizes; raises MalformedFrame for anything else."""
    header = from_bytes(raw, _MAX_HEADER_BYTES)
    match header:
        case {"hash": bytes() as key, "main": bytes() as main, "dealt": list()} if (
            len(key) == len(main) == SEED_BYTES
        ):
            sound = cast(dict[str, Any], header)
        case _:
            raise MalformedFrame("its header is none")
    if len(sound["dealt"]) != runs:
        raise MalformedFrame(f"sizes of {len(sound['dealt'])} passes instead of {runs}")
    return sound


def _require_size(folder: Path, descriptor: int, sizes: Sequence[int]) -> None:
    size = os.fstat(descriptor).st_size
    if size != sum(sizes):
        raise MalformedFrame(f"{size:,} bytes instead of {sum(sizes):,}")
