"""An in-process channel: two ends for two threads."""

from __future__ import annotations

import queue
from collections.abc import Sequence

from parties.channel import MAX_MESSAGE_BYTES, Channel
from parties.errors import MalformedFrame, PeerClosed, PeerTimeout
from parties.wire import Buffer

GRACE_S = 600.0
"""Two ends in one process fall silent only where somebody made a mistake."""

_Inbox = queue.SimpleQueue[list[Buffer] | None]


class LocalChannel(Channel):
    """One end of an in-process pair; made by `local_pair`.

    Attributes:
        recv_timeout_s: how long `recv` waits; may be changed at any time.
    """

    def __init__(self, inbox: _Inbox, outbox: _Inbox, recv_timeout_s: float) -> None:
        self._inbox, self._outbox, self.recv_timeout_s = inbox, outbox, recv_timeout_s
        self._closed = self._peer_closed = False

    def send(self, parts: Sequence[Buffer]) -> None:
        assert parts, "a message has at least one part"
        if self._closed or self._peer_closed:
            raise PeerClosed("the in-process channel is closed")
        self._outbox.put([bytes(part) for part in parts])

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        if self._closed or self._peer_closed:
            raise PeerClosed("the in-process channel is closed")
        try:
            parts = self._inbox.get(timeout=self.recv_timeout_s)
        except queue.Empty:
            raise PeerTimeout(f"nothing received within {self.recv_timeout_s:g} s") from None
        if parts is None:
            self._peer_closed = True
            raise PeerClosed("the peer closed the in-process channel")
        if sum(map(len, parts)) > most_bytes:
            raise MalformedFrame(f"a message of more than the {most_bytes} bytes that are expected here")
        return parts

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._outbox.put(None)


def local_pair(timeout_s: float = GRACE_S) -> tuple[LocalChannel, LocalChannel]:
    """Two connected ends. `recv` waits at most `timeout_s` seconds."""
    first: _Inbox = queue.SimpleQueue()
    second: _Inbox = queue.SimpleQueue()
    return LocalChannel(first, second, timeout_s), LocalChannel(second, first, timeout_s)
