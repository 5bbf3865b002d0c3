"""Transport from the dealer to a party: streams of bytes in chunks, a bounded number of them under way.

    dealer -> party   `deal.chunk`   {"part": p, "bytes": n}: a chunk follows, or
                                     {"end": [server, client, linear]}: so much was dealt for the run in all
    dealer -> party   `deal.data`    the chunk
    party -> dealer   `deal.taken`   {"bytes": total}: what the party has taken so far

Both ends keep a few chunks in memory, whatever the size of a run: the dealer sends no further than a window
ahead of what the party says it has taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

import numpy as np
from numpy.typing import NDArray

from parties.errors import PeerMismatch
from parties.link import Link
from parties.meter import SERVER
from parties.wire import Spec
from protocols.fss.preprocessing.correlations import Writer
from protocols.fss.preprocessing.file_stream import FileStream

CHUNK_BYTES = 1 << 20
WINDOW_BYTES = 1 << 26
CHUNK, DATA, TAKEN = "deal.chunk", "deal.data", "deal.taken"
_MAX_DOCUMENT_BYTES = 256


class Part(IntEnum):
    """What a stream is for."""

    GATES = 0
    LINEAR = 1


@dataclass(frozen=True, slots=True)
class Dealt:
    """Bytes of one run: gates' correlations to server and client, linear layers' to the server."""

    server: int
    client: int
    linear: int

    @classmethod
    def of(cls, value: object) -> Dealt:
        """From plain values; raises PeerMismatch where they are none."""
        sizes = cast(list[object], value) if isinstance(value, list) else []
        if len(sizes) != 3 or not all(type(size) is int and 0 <= size < 1 << 62 for size in sizes):
            raise PeerMismatch(f"a run's sizes are three numbers of bytes, got {value!r}")
        return cls(*cast(list[int], sizes))

    def to_plain(self) -> list[int]:
        """The sizes as a list."""
        return [self.server, self.client, self.linear]

    def to_party(self, rank: int) -> Mapping[Part, int]:
        """What one party gets of each part."""
        gates = self.server if rank == SERVER else self.client
        return {Part.GATES: gates, Part.LINEAR: self.linear if rank == SERVER else 0}


class Outbox:
    """The dealer's end of the way to one party.

    Args:
        link: to the party.
        window_bytes: how much is sent ahead of what the party has taken; at least a chunk.
        chunk_bytes: the longest chunk.
    """

    def __init__(
        self, link: Link, *, window_bytes: int = WINDOW_BYTES, chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        self._link, self._window_bytes, self._chunk_bytes = link, window_bytes, chunk_bytes
        self._buffers = {part: np.empty(chunk_bytes, np.uint8) for part in Part}
        self._filled = dict.fromkeys(Part, 0)
        self._sent = self._taken = 0

    def writer(self, part: Part) -> Writer:
        """Where a part's bytes go."""

        def write(data: NDArray[np.uint8]) -> None:
            self._write(part, data.reshape(-1))

        return write

    def end_run(self, dealt: Dealt) -> None:
        """Sends what is left of a run, and says how much it was."""
        for part in Part:
            self._flush(part)
        self._link.send_document({"end": dealt.to_plain()}, CHUNK)

    def drain(self) -> None:
        """Waits until the party has taken everything."""
        while self._taken < self._sent:
            self._hear()

    def _write(self, part: Part, data: NDArray[np.uint8]) -> None:
        buffer = self._buffers[part]
        while data.size:
            filled = self._filled[part]
            taken = min(data.size, self._chunk_bytes - filled)
            buffer[filled : filled + taken] = data[:taken]
            self._filled[part], data = filled + taken, data[taken:]
            if self._filled[part] == self._chunk_bytes:
                self._flush(part)

    def _flush(self, part: Part) -> None:
        size = self._filled[part]
        if not size:
            return
        while self._taken < self._sent and self._sent - self._taken + size > self._window_bytes:
            self._hear()
        self._link.send_document({"part": int(part), "bytes": size}, CHUNK)
        self._link.send([self._buffers[part][:size]], 8, DATA)
        self._sent, self._filled[part] = self._sent + size, 0

    def _hear(self) -> None:
        match self._link.recv_document(TAKEN, _MAX_DOCUMENT_BYTES):
            case {"bytes": int() as total} if self._taken < total <= self._sent:
                self._taken = total
            case document:
                raise PeerMismatch(f"{document} taken, after {self._taken} of {self._sent} bytes sent")


class Inbox:
    """A party's end.

    Args:
        link: to the dealer.
        rank: of this party.
        on_bytes: is told of every chunk's size.
        window_bytes: the dealer's window or less: says when to acknowledge.
    """

    def __init__(
        self,
        link: Link,
        rank: int,
        *,
        on_bytes: Callable[[int], None] | None = None,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._link, self._rank, self._on_bytes = link, rank, on_bytes
        self._acknowledge_bytes = window_bytes // 4
        self._taken = self._acknowledged = 0

    def receive_run(
        self, proceed: Callable[[], bool] = lambda: True
    ) -> tuple[Dealt, dict[Part, FileStream]] | None:
        """One run's correlations.

        Args:
            proceed: is asked before every chunk; False leaves the stream where it is.

        Returns:
            How much was dealt, and what this party got; None where it was not to proceed.

        Raises:
            PeerMismatch: something else came than was announced.
            ConfigError: it does not fit the disk.
        """
        file_streams = {part: FileStream() for part in Part}
        try:
            dealt = self._receive_into(file_streams, proceed)
        except BaseException:
            _close(file_streams)
            raise
        if dealt is None:
            _close(file_streams)
            return None
        return dealt, file_streams

    def _receive_into(
        self, file_streams: dict[Part, FileStream], proceed: Callable[[], bool]
    ) -> Dealt | None:
        while proceed():
            match self._link.recv_document(CHUNK, _MAX_DOCUMENT_BYTES):
                case {"end": sizes}:
                    dealt = Dealt.of(sizes)
                    expected = list(dealt.to_party(self._rank).values())
                    got = [file_stream.size_bytes for file_stream in file_streams.values()]
                    if got != expected:
                        raise PeerMismatch(f"the dealer says that it sent {expected} bytes, {got} came")
                    self._acknowledge()
                    return dealt
                case {"part": int() as part, "bytes": int() as size} if part in (0, 1) and size > 0:
                    self._take(file_streams[Part(part)], size)
                case document:
                    raise PeerMismatch(f"expected a chunk or the end of a run, got {document}")
        return None

    def _take(self, file_stream: FileStream, size: int) -> None:
        if size > CHUNK_BYTES:
            raise PeerMismatch(f"a chunk of {size} bytes; at most {CHUNK_BYTES} are agreed")
        (data,) = self._link.recv([Spec(8, (size,))], DATA)
        file_stream.write(cast("NDArray[np.uint8]", data))
        self._taken += size
        if self._on_bytes is not None:
            self._on_bytes(size)
        if self._taken - self._acknowledged >= self._acknowledge_bytes:
            self._acknowledge()

    def _acknowledge(self) -> None:
        if self._taken > self._acknowledged:
            self._acknowledged = self._taken
            self._link.send_document({"bytes": self._taken}, TAKEN)


def _close(file_streams: Mapping[Part, FileStream]) -> None:
    for file_stream in file_streams.values():
        file_stream.close()


def counted(write: Writer, add: Callable[[int], None]) -> Writer:
    """A writer that tells of every size."""

    def write_and_tell(data: NDArray[np.uint8]) -> None:
        write(data)
        add(data.size)

    return write_and_tell
