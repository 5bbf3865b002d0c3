"""Which TCP connections a 0MQ socket has, from what its monitor reports."""

from __future__ import annotations

import struct
from enum import IntEnum

from parties.tcp import os_sockets, zmtp


class Event(IntEnum):
    """What can happen to a socket, by 0MQ's numbers (`zmq_socket_monitor`)."""

    CONNECTED = 1
    ACCEPTED = 32
    CLOSED = 128
    DISCONNECTED = 512
    HANDSHAKE_SUCCEEDED = 4096
    HANDSHAKE_FAILED_PROTOCOL = 8192
    HANDSHAKE_FAILED_AUTH = 16384


class Connections:
    """The connections that exist now: the peer's, and for a while those of strangers who are turned away.

    Args:
        secure: whether the socket uses CURVE.
        listening: whether it is the listening end.
    """

    def __init__(self, *, secure: bool, listening: bool) -> None:
        listener, connector = zmtp.preamble_bytes(secure)
        self.preamble_bytes = (listener, connector) if listening else (connector, listener)
        self._welcome_bytes = zmtp.welcome_bytes(secure)
        self._cookies: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._cookies)

    def note(self, report: bytes) -> tuple[int, int]:
        """Takes a report in; its event, and the value with it, which for connections is a descriptor."""
        event, value = struct.unpack("=HI", report)
        if event in (Event.ACCEPTED, Event.CONNECTED):
            self._cookies.pop(value, None)  # the newest is last
            self._cookies[value] = os_sockets.socket_cookie(value)
        elif event == Event.DISCONNECTED:
            self._cookies.pop(value, None)
        return event, value

    def ours(self) -> int | None:
        """The descriptor of the peer's connection once it is in; None where none can be told to be that.

        Where there are several, it is the only one that was ever sent a whole preamble.
        """
        if len(self._cookies) == 1:
            return next(iter(self._cookies))
        counts = {descriptor: self.kernel_bytes(descriptor) for descriptor in self._cookies}
        whole = [
            fd for fd, count in counts.items() if count is not None and count[0] >= self.preamble_bytes[0]
        ]
        return whole[0] if len(whole) == 1 else None

    def waiting(self, ours: int | None) -> list[int]:
        """Descriptors of connections that are not in: first those that have not shown that they know this
        party's public key, and of either kind the oldest first.

        Whoever is in was sent a whole preamble. Where the kernel does not tell, all but `ours` may be waiting
        once that is known, and nobody can be said to wait before.
        """
        others = [descriptor for descriptor in self._cookies if descriptor != ours]
        counts = [(each, self.kernel_bytes(each)) for each in others]
        if ours is None:
            counts = [(each, count) for each, count in counts if count is not None]
        waits = [(each, n) for each, n in counts if n is None or n[0] < self.preamble_bytes[0]]
        return [each for each, _ in sorted(waits, key=lambda wait: self._is_welcome(wait[1]))]

    def welcome(self) -> frozenset[int]:
        """Descriptors of connections whose other end has shown that it knows this party's public key."""
        return frozenset(each for each in self._cookies if self._is_welcome(self.kernel_bytes(each)))

    def _is_welcome(self, count: tuple[int, int] | None) -> bool:
        return count is not None and self._welcome_bytes is not None and count[0] >= self._welcome_bytes

    def oldest(self, count: int) -> list[int]:
        """Descriptors of so many, none where the number is not positive."""
        return list(self._cookies)[: max(0, count)]

    def end(self, descriptor: int) -> None:
        """Ends a connection; its owner notices as if the other end had."""
        os_sockets.shut_down(descriptor, self._cookies.get(descriptor, b""))

    def kernel_bytes(self, descriptor: int) -> tuple[int, int] | None:
        """TCP payload (sent, received) of a connection by the kernel's count; None where it does not tell."""
        return os_sockets.tcp_bytes(descriptor, self._cookies.get(descriptor, b""))
