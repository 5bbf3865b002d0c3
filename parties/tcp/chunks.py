"""Messages in chunks of bounded length, so that 0MQ never takes much memory for one frame.

A message is a list of parts. Before the first part stand two bytes with the number of parts. Each part
travels as chunks of `CHUNK_BYTES` and a last one that is shorter, and empty where nothing is left. A chunk is
a 0MQ message of its own: its high-water mark counts messages, so that it bounds what waits.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from parties.errors import MalformedFrame, RangeError
from parties.tcp import zmtp
from parties.wire import Buffer

CHUNK_BYTES = 1 << 18
MAX_PARTS = (1 << 16) - 1
_COUNT_BYTES = 2
_COPIED_BYTES = 4096  # received chunks up to here are copied, longer ones are views


def chunks(parts: Sequence[Buffer]) -> Generator[Buffer]:
    """What to send for a message.

    Raises:
        RangeError: more parts than can be counted; nothing was yielded.
    """
    if len(parts) > MAX_PARTS:
        raise RangeError(f"a message of {len(parts)} parts; a channel carries at most {MAX_PARTS}")
    yield from _cut(len(parts).to_bytes(_COUNT_BYTES, "little") + parts[0])
    for part in parts[1:]:
        yield from _cut(part)


def _cut(part: Buffer) -> Generator[Buffer]:
    if len(part) < CHUNK_BYTES:
        yield part
        return
    whole = memoryview(part).cast("B")
    for start in range(0, len(whole) + 1, CHUNK_BYTES):
        yield whole[start : start + CHUNK_BYTES]


def wire_bytes(parts: Sequence[Buffer], secure: bool) -> int:
    """TCP payload of a message."""
    lengths = [len(part) for part in parts]
    lengths[0] += _COUNT_BYTES
    full = sum(length // CHUNK_BYTES for length in lengths)
    last = [length % CHUNK_BYTES for length in lengths]
    return full * zmtp.message_bytes([CHUNK_BYTES], secure) + zmtp.message_bytes(last, secure)


class Assembler:
    """Puts chunks together; what has come of a message stays while its rest is awaited."""

    def __init__(self) -> None:
        self._parts: list[Buffer] = []
        self._chunks: list[Buffer] = []
        self._expected = 0
        self._bytes = 0

    def add(self, chunk: Buffer, most_bytes: int) -> list[Buffer] | None:
        """Takes the next chunk; the message that it completes.

        Raises:
            MalformedFrame: the message has no parts, or more than `most_bytes` in all. The stream cannot be
                read on after that.
        """
        last = len(chunk) < CHUNK_BYTES
        if not self._expected:
            self._expected = int.from_bytes(chunk[:_COUNT_BYTES], "little")
            if not self._expected or len(chunk) < _COUNT_BYTES:
                raise MalformedFrame("a message that does not say how many parts it has")
            chunk = memoryview(chunk)[_COUNT_BYTES:]
        self._bytes += len(chunk)
        if self._bytes > most_bytes:
            raise MalformedFrame(f"a message of more than the {most_bytes} bytes that are expected here")
        self._chunks.append(chunk)
        if last:
            self._parts.append(_joined(self._chunks))
            self._chunks = []
        if len(self._parts) < self._expected:
            return None
        message, self._parts = self._parts, []
        self._expected = self._bytes = 0
        return message


def _joined(pieces: Sequence[Buffer]) -> Buffer:
    if len(pieces) > 1:
        return b"".join(pieces)
    (only,) = pieces
    return bytes(only) if len(only) <= _COPIED_BYTES else only
