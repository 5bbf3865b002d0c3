"""One end of a connection."""

from __future__ import annotations

import time
from collections.abc import Sequence

from parties.channel import MAX_MESSAGE_BYTES, Channel
from parties.errors import PeerClosed, PeerTimeout
from parties.tcp import chunks
from parties.tcp.socket import Wire
from parties.wire import Buffer

CONNECT_TIMEOUT_S = 30.0
RECV_TIMEOUT_S = 60.0
LINGER_S = 5.0


class TcpChannel(Channel):
    """One end of a connection; made by `Listener.accept` or `connect`.

    Use it from one thread at a time. Of what the peer sends ahead, some 32 MiB wait in this process's memory,
    the rest at the peer; one that gets around this is cut off at `MAX_QUEUED_BYTES`.

    Attributes:
        peer_key: the peer's authenticated public key in Z85; None on an unencrypted connection.
        secure: whether the connection is encrypted and authenticated.
        recv_timeout_s: how long `recv` waits for a message, or for the next chunk of a long one; may be
            changed at any time.
    """

    def __init__(self, wire: Wire, peer_key: str | None, recv_timeout_s: float) -> None:
        self._wire: Wire | None = wire
        self._connection = wire.established()
        self._incoming = chunks.Assembler()
        self.peer_key, self.secure, self.recv_timeout_s = peer_key, wire.secure, recv_timeout_s

    def send(self, parts: Sequence[Buffer]) -> None:
        """Queues a message of at least one part; it is copied. See `Channel.send`.

        Raises:
            RangeError: too many parts; nothing was sent.
        """
        assert parts, "a message has at least one part"
        wire = self._open()
        if wire.watcher.lost:
            raise PeerClosed("the connection to the peer is lost")
        for chunk in chunks.chunks(parts):
            wire.send(chunk)

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        """The next message; parts are views of 0MQ's own buffers. See `Channel.recv`."""
        wire = self._open()
        deadline: float | None = None
        while True:
            lost = wire.watcher.lost  # looked at first: what arrived before the loss is still delivered
            while (chunk := wire.received()) is not None:
                if len(chunk) == chunks.CHUNK_BYTES:  # of those only so many as are awaited can come
                    deadline = None
                message = self._incoming.add(chunk, most_bytes)
                if message is not None:
                    return message
            if lost and wire.late():
                continue
            if lost:
                raise PeerClosed(_why(wire))
            now = time.monotonic()
            deadline = now + self.recv_timeout_s if deadline is None else deadline
            if now >= deadline:
                raise PeerTimeout(f"nothing received within {self.recv_timeout_s:g} s")
            wire.wait(deadline - now)

    def close(self) -> None:
        """Sends what is queued, for at most `LINGER_S` seconds, then ends the connection; safe to repeat."""
        if self._wire is not None:
            wire, self._wire = self._wire, None
            wire.close(0.0 if wire.watcher.lost else LINGER_S)

    @property
    def lost(self) -> bool:
        """Whether the connection has ended; what came before can still be received."""
        return self._wire is None or self._wire.watcher.lost

    def wire_bytes(self, parts: Sequence[Buffer]) -> int:
        """Exact TCP payload of a message: framing, and encryption's overhead, of each chunk."""
        return chunks.wire_bytes(parts, self.secure)

    def preamble_bytes(self) -> tuple[int, int]:
        """Exact TCP payload (sent, received) of greeting and CURVE handshake, before the first message."""
        return self._open().connections.preamble_bytes

    def kernel_bytes(self) -> tuple[int, int] | None:
        """TCP payload (sent, received) by the kernel's own count, retransmissions left out.

        What is still queued in this process is not yet sent: ask after the peer has answered. None where the
        kernel does not tell (not Linux) or the connection has ended.
        """
        if self._wire is None or self._connection is None or self._wire.watcher.lost:
            return None
        return self._wire.connections.kernel_bytes(self._connection)

    def _open(self) -> Wire:
        if self._wire is None:
            raise PeerClosed("this end of the connection is closed")
        return self._wire


def _why(wire: Wire) -> str:
    if wire.watcher.flooded:
        return "the peer was cut off: more than it may send ahead waited to be read"
    return "the peer ended the connection, died, or sent what no program of ours sends"
