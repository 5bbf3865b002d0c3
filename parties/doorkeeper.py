"""Who may come in: the answering side of 0MQ's authentication protocol (ZAP, RFC 27)."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

from parties.keys import z85_encode


@runtime_checkable
class ZapSocket(Protocol):
    """What is needed of the socket on which a listening socket asks."""

    def poll(self, timeout: int) -> int: ...

    def recv_multipart(self) -> list[bytes]: ...

    def send_multipart(self, msg_parts: list[bytes]) -> object: ...


class DoorKeeper:
    """Lets one peer with an allowed key in, once in its life, and turns everybody else away.

    Args:
        socket: where the questions come in.
        allowed: public keys (Z85) that may come in; None for anybody, without encryption.

    Attributes:
        granted_s, granted_key: when the peer was let in (`time.monotonic`), and its public key.
        refused: who was turned away last, for messages.
    """

    def __init__(self, socket: ZapSocket, allowed: frozenset[str] | None) -> None:
        self._socket, self._allowed = socket, allowed
        self.granted_s: float | None = None
        self.granted_key: str | None = None
        self.refused = ""

    def answer(self) -> None:
        """Answers what was asked since the last call; does not wait."""
        while self._socket.poll(0):
            request = self._socket.recv_multipart()
            mechanism, address = request[5], request[3].decode("ascii", "replace")
            key = z85_encode(request[6]) if mechanism == b"CURVE" else None
            if self._allowed is not None and (key is None or key not in self._allowed):
                self.refused = f"{address}, whose public key {key} is not on the list"
                status = b"400"
            elif self.granted_s is not None:
                status = b"300"  # taken; the next listener may let it in
            else:
                self.granted_s, self.granted_key = time.monotonic(), key
                status = b"200"
            self._socket.send_multipart([b"1.0", request[1], status, b"", b"", b""])
