"""Decides who may connect: the answering side of 0MQ's authentication protocol (ZAP, RFC 27)."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

from parties.keys import z85_encode

GRANT_S = 10.0
"""The longest time from being let in to being in."""


@runtime_checkable
class ZapSocket(Protocol):
    """The part of a socket's interface that answering a listening socket needs."""

    def poll(self, timeout: int) -> int: ...

    def recv_multipart(self) -> list[bytes]: ...

    def send_multipart(self, msg_parts: list[bytes]) -> object: ...

    def close(self, linger: int) -> None: ...


class ZapAuthenticator:
    """Lets one peer with an allowed key in, once in its life, and turns everybody else away.

    Args:
        socket: where the questions come in.
        allowed: public keys (Z85) that may come in; None for anybody, without encryption.

    Attributes:
        granted_key: the public key of the peer that was let in.
        refused: who was turned away last, for messages.
    """

    def __init__(self, socket: ZapSocket, allowed: frozenset[str] | None) -> None:
        self.socket, self._allowed = socket, allowed
        self._granted_s: float | None = None
        self.granted_key: str | None = None
        self.refused = ""

    def answer(self) -> None:
        """Answers what was asked since the last call; does not wait."""
        while self.socket.poll(0):
            request = self.socket.recv_multipart()
            mechanism, address = request[5], request[3].decode("ascii", "replace")
            key = z85_encode(request[6]) if mechanism == b"CURVE" else None
            if self._allowed is not None and (key is None or key not in self._allowed):
                self.refused = f"{address}, whose public key {key} is not on the list"
                status = b"400"
            elif self._granted_s is not None:
                status = b"300"  # taken; the next listener may let it in
            else:
                self._granted_s, self.granted_key = time.monotonic(), key
                status = b"200"
            self.socket.send_multipart([b"1.0", request[1], status, b"", b"", b""])

    @property
    def granting(self) -> bool:
        """Whether a peer was let in so lately that it may be on its way in."""
        return self._granted_s is not None and time.monotonic() <= self._granted_s + GRANT_S

    def close(self) -> None:
        """No more answers."""
        self.socket.close(0)

    def peer_left(self, connections: int) -> bool:
        """Whether the peer was let in and has gone since, given how many connections there are.

        Where strangers' connections remain, it is taken to have gone `GRANT_S` seconds after it was let in.
        """
        if self._granted_s is None:
            return False
        return not connections or time.monotonic() > self._granted_s + GRANT_S
