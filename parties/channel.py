"""The smallest network there is: send a message, receive a message, close."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from parties.wire import Buffer

MAX_MESSAGE_BYTES = 1 << 30

_C = TypeVar("_C", bound="Channel")


class Channel(ABC):
    """A two-ended, ordered, reliable stream of messages; a message is a list of byte parts.

    `send` never blocks. `recv` blocks to the channel's deadline. Closing either end makes the other end's
    next `recv` fail at once, after what was sent before the close has been delivered.
    """

    @abstractmethod
    def send(self, parts: Sequence[Buffer]) -> None:
        """Queues a message of one part or more. The caller may reuse the parts once this returns.

        Raises:
            PeerClosed: this end or the other is closed.
        """

    @abstractmethod
    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        """The next message.

        Args:
            most_bytes: the longest that is awaited, all parts together.

        Raises:
            PeerClosed: the other end went away and nothing is left to read.
            PeerTimeout: nothing came before the deadline.
            MalformedFrame: a longer one is coming; memory was not taken for it.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes this end; safe to repeat."""

    def wire_bytes(self, parts: Sequence[Buffer]) -> int:
        """Bytes this message occupies on the transport, framing and encryption included."""
        return sum(len(part) for part in parts)

    def __enter__(self: _C) -> _C:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
