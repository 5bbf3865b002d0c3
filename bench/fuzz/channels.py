"""A channel whose other end has said everything already."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from bench.fuzz.mutations import Message
from parties.channel import MAX_MESSAGE_BYTES, Channel
from parties.errors import MalformedFrame, PeerClosed
from parties.wire import Buffer


class Said(Channel):
    """Hands out a stream of messages, and is closed after the last one. What is sent to it is forgotten.

    Args:
        stream: each of at least one part, as channels see to.
    """

    def __init__(self, stream: Sequence[Message]) -> None:
        self._left = deque(stream)

    def send(self, parts: Sequence[Buffer]) -> None:
        """Forgotten."""

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        if not self._left:
            raise PeerClosed("the peer said no more")
        parts = self._left.popleft()
        if sum(map(len, parts)) > most_bytes:
            raise MalformedFrame(f"a message of more than the {most_bytes} bytes that are expected here")
        return list[Buffer](parts)

    def close(self) -> None:
        """Nothing is left to close."""
