"""A channel that remembers what went through it, and can be told to lie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from parties.channel import MAX_MESSAGE_BYTES, Channel
from parties.wire import Buffer

Message = list[bytes]
Tamper = Callable[[Message], Message]


class Trace(Channel):
    """Passes messages on, hashes each direction, and keeps copies where asked.

    Two runs that put the same messages on the wire in the same order have the same hashes. The hashes cover
    what the inner channel carried: sent messages after tampering, received ones before.

    Args:
        channel: carries the messages; closed with the trace.
        keep_cache: whether `sent` and `received` collect copies, as this end saw them.
        tamper_sent, tamper_received: for tests; given a copy of a message, return what goes on instead.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        keep_cache: bool = False,
        tamper_sent: Tamper | None = None,
        tamper_received: Tamper | None = None,
    ) -> None:
        self._channel, self._keep = channel, keep_cache
        self._tamper_sent, self._tamper_received = tamper_sent, tamper_received
        self._sent_hash, self._received_hash = hashlib.sha256(), hashlib.sha256()
        self.sent: list[Message] = []
        self.received: list[Message] = []

    @property
    def sent_sha256(self) -> str:
        """Hash of everything sent so far, part boundaries included, in hexadecimal."""
        return self._sent_hash.hexdigest()

    @property
    def received_sha256(self) -> str:
        """Hash of everything received so far; equals the other end's `sent_sha256` when all has arrived."""
        return self._received_hash.hexdigest()

    def send(self, parts: Sequence[Buffer]) -> None:
        if self._keep:
            self.sent.append([bytes(part) for part in parts])
        if self._tamper_sent is not None:
            parts = self._tamper_sent([bytes(part) for part in parts])
        self._channel.send(parts)
        self._sent_hash.update(_lengths(parts))
        for part in parts:
            self._sent_hash.update(part)

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        parts = self._channel.recv(most_bytes)
        self._received_hash.update(_lengths(parts))
        for part in parts:
            self._received_hash.update(part)
        if self._tamper_received is not None:
            tampered = self._tamper_received([bytes(part) for part in parts])
            parts = list[Buffer](tampered)
        if self._keep:
            self.received.append([bytes(part) for part in parts])
        return parts

    def close(self) -> None:
        self._channel.close()

    def wire_bytes(self, parts: Sequence[Buffer]) -> int:
        return self._channel.wire_bytes(parts)


def _lengths(parts: Sequence[Buffer]) -> bytes:
    numbers = [len(parts), *map(len, parts)]
    return b"".join(number.to_bytes(8, "little") for number in numbers)
