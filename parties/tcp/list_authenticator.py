"""Lets in everybody on a list: the answering side of 0MQ's authentication protocol (ZAP, RFC 27)."""

from __future__ import annotations

from collections.abc import Callable

from parties.keys import z85_encode
from parties.tcp.authenticator import ZapSocket


class ListAuthenticator:
    """Lets every peer in whose key may enter, as often as it comes.

    Args:
        socket: where the questions come in.
        may_enter: whether a public key (Z85) is on the list now.

    Attributes:
        refused: how many were turned away.
    """

    def __init__(self, socket: ZapSocket, may_enter: Callable[[str], bool]) -> None:
        self._socket, self._may_enter, self.refused = socket, may_enter, 0

    def answer(self) -> None:
        """Answers what was asked since the last call; does not wait."""
        while self._socket.poll(0):
            request = self._socket.recv_multipart()
            key = z85_encode(request[6]) if request[5] == b"CURVE" else ""
            allowed = bool(key) and self._may_enter(key)
            self.refused += not allowed
            status, user = (b"200", key.encode()) if allowed else (b"400", b"")
            self._socket.send_multipart([b"1.0", request[1], status, b"", user, b""])

    def close(self) -> None:
        """No more answers."""
        self._socket.close(0)
