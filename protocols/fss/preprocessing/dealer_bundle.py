"""What a dealer keeps of a bundle that it dealt ahead: both parties' seeds, and every run's correlations.

A folder a bundle, for its owner alone; whoever reads it can decrypt what the bundle will hide:

    server.gates, client.gates, server.linear   correlations, run after run
    bundle                                      seeds; shape, sizes and digests of each run; written last
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from parties.documents import from_bytes, to_bytes
from parties.errors import ConfigError, MalformedFrame, PeerMismatch
from protocols.fss.preprocessing.correlations import Writer
from protocols.fss.preprocessing.seeds import DealerSeeds, PartySeeds
from protocols.fss.preprocessing.source import RunShape
from protocols.fss.preprocessing.transport import CHUNK_BYTES, Dealt
from protocols.one_time import create_file, replace_file, sync_names
from protocols.seeding import SEED_BYTES

VERSION = 1
STREAMS = ("server.gates", "client.gates", "server.linear")
"""In the order of `Dealt`."""
_HEADER = "bundle"
_MAX_HEADER_BYTES = 1 << 24
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run of a bundle: its shape, how much was dealt for it, and the SHA-256 of each stream's part."""

    shape: RunShape
    dealt: Dealt
    digests: tuple[bytes, ...]


class DealerBundleWriter:
    """A bundle that is being dealt.

    Args:
        folder: exists and is empty.

    Raises:
        ConfigError: a file cannot be made. Its cause is the system's error, as everywhere here.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = [create_file(folder / name) for name in STREAMS]
        self._digests = [hashlib.sha256() for _ in STREAMS]
        self._runs: list[StoredRun] = []

    def writer(self, stream: int) -> Writer:
        """Where the bytes of one of `STREAMS` go; raises ConfigError where the disk is full."""

        def write(data: NDArray[np.uint8]) -> None:
            content = np.ascontiguousarray(data).data
            try:
                self._files[stream].write(content)
            except OSError as error:
                raise ConfigError(f"{self._folder}: {error}") from error
            self._digests[stream].update(content)

        return write

    def end_run(self, shape: RunShape, dealt: Dealt) -> None:
        """A run is complete."""
        self._runs.append(StoredRun(shape, dealt, tuple(digest.digest() for digest in self._digests)))
        self._digests = [hashlib.sha256() for _ in STREAMS]

    def end(self, seeds: DealerSeeds) -> None:
        """The bundle is complete, and stays so when the machine stops."""
        try:
            for file in self._files:
                file.flush()
                os.fsync(file.fileno())
            self.close()
        except OSError as error:
            raise ConfigError(f"{self._folder}: {error}") from error
        header = {
            "version": VERSION,
            "seeds": [seeds.server.hash, seeds.server.main, seeds.server.weights, seeds.client.main],
            "runs": [
                [run.shape.start, run.shape.tokens, run.shape.rows, run.dealt.to_plain(), list(run.digests)]
                for run in self._runs
            ],
        }
        replace_file(self._folder / _HEADER, to_bytes(header))

    def close(self) -> None:
        """Safe to repeat. Of a bundle that has not ended, what waits to be written is given up."""
        for file in self._files:
            with suppress(OSError):
                file.close()


class DealerBundle:
    """A bundle in use: nobody else will find it on disk any more.

    Args:
        folder: of a complete bundle; its files lose their names before this returns, and so does the folder.

    Attributes:
        seeds: both parties'; none of their streams was handed out.
        runs: in order.

    Raises:
        ConfigError: it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._name, self._descriptors = folder.name, list[int]()
        try:
            with (folder / _HEADER).open("rb") as header_file:
                for name in STREAMS:
                    self._descriptors.append(os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC))
                remove_bundle(folder)
                self.seeds, self.runs = _read_header(header_file.read(_MAX_HEADER_BYTES + 1))
            self._require_sizes()
        except (OSError, MalformedFrame, PeerMismatch) as error:
            self.close()
            raise ConfigError(f"bundle {self._name} is damaged: {error}") from error
        except BaseException:
            self.close()
            raise

    def check(self, number: int) -> None:
        """Reads a run's bytes before any of them is sent.

        Raises:
            ConfigError: they are not what was dealt.
        """
        buffer = np.empty(CHUNK_BYTES, np.uint8)
        for stream, (offset, size) in enumerate(self._places(number)):
            digest = hashlib.sha256()
            for at in range(0, size, CHUNK_BYTES):
                digest.update(self._read(stream, offset + at, buffer[: size - at]).data)
            if digest.digest() != self.runs[number].digests[stream]:
                raise ConfigError(f"bundle {self._name} is damaged: {STREAMS[stream]} of run {number}")

    def send(self, number: int, writers: Sequence[Writer]) -> Dealt:
        """Writes a run's streams, a chunk at a time of the one that is furthest behind.

        Raises:
            ConfigError: the files cannot be read.
        """
        places = self._places(number)
        done, buffer = [0] * len(places), np.empty(CHUNK_BYTES, np.uint8)
        while True:
            behind = [
                (done[stream] / size, stream)
                for stream, (_, size) in enumerate(places)
                if done[stream] < size
            ]
            if not behind:
                return self.runs[number].dealt
            stream = min(behind)[1]
            offset, size = places[stream]
            chunk = self._read(stream, offset + done[stream], buffer[: size - done[stream]])
            writers[stream](chunk)
            done[stream] += chunk.size

    def close(self) -> None:
        """The bundle's bytes are gone; safe to repeat."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _places(self, number: int) -> list[tuple[int, int]]:
        """Offset and size of a run in each stream."""
        sizes = [run.dealt.to_plain() for run in self.runs[: number + 1]]
        return [(sum(row[i] for row in sizes[:-1]), sizes[-1][i]) for i in range(len(STREAMS))]

    def _read(self, stream: int, offset: int, buffer: NDArray[np.uint8]) -> NDArray[np.uint8]:
        done = 0
        while done < buffer.size:
            try:
                got = os.preadv(self._descriptors[stream], [buffer[done:].data], offset + done)
            except OSError as error:
                raise ConfigError(f"bundle {self._name}: {error}") from error
            if not got:
                raise ConfigError(f"bundle {self._name} is damaged: {STREAMS[stream]} ends too early")
            done += got
        return buffer

    def _require_sizes(self) -> None:
        for stream, descriptor in enumerate(self._descriptors):
            size = os.fstat(descriptor).st_size
            expected = sum(run.dealt.to_plain()[stream] for run in self.runs)
            if size != expected:
                raise MalformedFrame(f"{STREAMS[stream]} has {size:,} bytes instead of {expected:,}")


def remove_bundle(folder: Path) -> None:
    """Takes the names of a bundle's files away, complete or not, and that of its folder; safe to repeat.

    Raises:
        OSError: the folder has something else in it, or belongs to somebody else.
    """
    for name in (_HEADER, f"{_HEADER}.new", *STREAMS):
        (folder / name).unlink(missing_ok=True)
    if folder.exists():
        folder.rmdir()
        sync_names(folder.parent)


def _read_header(raw: bytes) -> tuple[DealerSeeds, list[StoredRun]]:
    """Seeds and runs; raises MalformedFrame or PeerMismatch for anything else."""
    document = from_bytes(raw, _MAX_HEADER_BYTES)
    header = cast(dict[str, object], document) if isinstance(document, dict) else {}
    if header.get("version") != VERSION:
        raise MalformedFrame(f"it is of version {header.get('version')!r}, this is {VERSION}")
    hash_key, server, weights, client = _all_bytes(header.get("seeds"), 4, SEED_BYTES)
    pair = DealerSeeds(PartySeeds(hash_key, server, weights), PartySeeds(hash_key, client))
    return pair, [_stored_run(run) for run in _list(header.get("runs"))]


def _stored_run(value: object) -> StoredRun:
    match _list(value):
        case [int() as start, int() as tokens, int() as rows, sizes, digests]:
            shape, dealt = RunShape(start, tokens, rows), Dealt.of(sizes)
            return StoredRun(shape, dealt, tuple(_all_bytes(digests, len(STREAMS), _DIGEST_BYTES)))
        case _:
            raise MalformedFrame("its header has a run that is none")


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise MalformedFrame("its header is none")
    return cast(list[object], value)


def _all_bytes(value: object, count: int, size: int) -> list[bytes]:
    items = _list(value)
    if len(items) != count or not all(isinstance(item, bytes) and len(item) == size for item in items):
        raise MalformedFrame(f"its header lacks {count} times {size} bytes")
    return cast(list[bytes], items)
