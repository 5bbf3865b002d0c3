"""An endpoint where many authenticated peers ask, and are answered, in small documents.

Sessions do not run here: whoever is admitted is sent to a listener of its own (`parties.admission`). What
peers can make this process hold is bounded: `MAX_WAITING` connections that are not in, for `HANDSHAKE_S`
seconds; `MAX_CONNECTIONS` in all, of more the oldest are ended; `QUEUED` messages each of `LONGEST_BYTES`.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import zmq

from parties.documents import from_bytes, to_bytes
from parties.errors import MalformedFrame, PeerMismatch
from parties.keys import KeyPair, require_keys
from parties.tcp import chunks, zmtp
from parties.tcp.connections import Connections
from parties.tcp.list_authenticator import ListAuthenticator
from parties.tcp.socket import Socket, ask_before_accepting, harden, milliseconds, translated
from parties.tcp.watcher import MAX_WAITING
from parties.wire import Frame, decode, encode, spec_of

MAX_CONNECTIONS = 512
LONGEST_BYTES = 2048
QUEUED = 8
_AT_ONCE = 64  # messages that are read before the owner may do something else


@dataclass(slots=True, eq=False)
class Visitor:
    """A connection that asked something.

    Attributes:
        key: the peer's authenticated public key in Z85.
    """

    route: bytes
    key: str
    assembler: chunks.Assembler = field(default_factory=chunks.Assembler)
    received: int = 0
    sent: int = 0


class Reception:
    """Bound endpoints; used by one thread.

    Args:
        endpoints: `tcp://host:port` each; `*` as port takes a free one.
        keys: this party's pair.
        label: of every frame, in both directions.
        may_enter: whether a public key (Z85) may connect; asked at every handshake.
        on_malformed: is told, of a peer that was authenticated, its key and what was wrong.

    Attributes:
        endpoints: with the ports that were taken.

    Raises:
        ConfigError: a malformed or busy endpoint, or a malformed key.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        keys: KeyPair,
        label: str,
        *,
        may_enter: Callable[[str], bool],
        on_malformed: Callable[[str, str], None],
    ) -> None:
        require_keys(keys, allow_insecure=False)
        for endpoint in endpoints:
            zmtp.require_endpoint(endpoint)
        self._label, self._on_malformed = label, on_malformed
        self._visitors: OrderedDict[bytes, Visitor] = OrderedDict()
        self._context = zmq.Context()
        self._socket: Socket = self._context.socket(zmq.ROUTER)
        harden(self._socket, keys, queued=QUEUED, longest=LONGEST_BYTES)
        self._socket.setsockopt(zmq.SNDHWM, QUEUED)
        questions = ask_before_accepting(self._context, self._socket, secure=True)
        self._authenticator = ListAuthenticator(questions, may_enter)
        self._connections = Connections(secure=True, listening=True)
        self._monitor: Socket = self._socket.get_monitor_socket()
        self._poller = zmq.Poller()
        for socket in (self._socket, self._monitor, questions):
            self._poller.register(socket, zmq.POLLIN)
        try:
            self.endpoints = [self._bound(endpoint) for endpoint in endpoints]
        except BaseException:
            self.close()
            raise

    @property
    def connections(self) -> int:
        """How many there are, those that are not in included."""
        return len(self._connections)

    def requests(self, timeout_s: float, also: Sequence[int] = ()) -> list[tuple[Visitor, dict[str, Any]]]:
        """What was asked; waits for something at most so long.

        Args:
            also: descriptors; something to read there ends the wait as well.
        """
        for descriptor in also:
            self._poller.register(descriptor, zmq.POLLIN)
        try:
            self._poller.poll(milliseconds(timeout_s))
        finally:
            for descriptor in also:
                self._poller.unregister(descriptor)
        self._authenticator.answer()
        self._note_connections()
        asked: list[tuple[Visitor, dict[str, Any]]] = []
        for _ in range(_AT_ONCE):
            try:
                route, *rest = self._socket.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                break
            visitor = self._visitor(route.bytes, cast(str, rest[-1].get("User-Id")))
            try:
                document = self._read(visitor, rest)
            except (MalformedFrame, PeerMismatch) as error:
                del self._visitors[visitor.route]
                self._on_malformed(visitor.key, str(error))
                continue
            if document is not None:
                asked.append((visitor, document))
        return asked

    def answer(self, visitor: Visitor, document: dict[str, Any]) -> None:
        """Queues an answer; it is lost where the peer is gone, or does not read."""
        raw = np.frombuffer(to_bytes(document), np.uint8)
        frame = Frame(b"", visitor.sent, self._label, 0, (spec_of(8, raw.shape),), (raw.data,))
        visitor.sent += 1
        for chunk in chunks.chunks(encode(frame)):
            with contextlib.suppress(zmq.Again):
                self._socket.send_multipart([visitor.route, chunk], zmq.DONTWAIT)

    def close(self) -> None:
        """Ends every connection; what was answered still leaves, for a second at most. Safe to repeat."""
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._authenticator.close()
            self._socket.close(1000)
            self._context.term()

    def _bound(self, endpoint: str) -> str:
        """Listens; the endpoint with the port that was taken."""
        with translated(f"listen at {endpoint}"):
            self._socket.setsockopt(zmq.IPV6, int("[" in endpoint))
            self._socket.bind(endpoint)
            return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _visitor(self, route: bytes, key: str) -> Visitor:
        """Who sent a message."""
        if route not in self._visitors:
            self._visitors[route] = Visitor(route, key)
            if len(self._visitors) > 2 * MAX_CONNECTIONS:
                self._visitors.popitem(last=False)
        self._visitors.move_to_end(route)
        return self._visitors[route]

    def _read(self, visitor: Visitor, frames: Sequence[zmq.Frame]) -> dict[str, Any] | None:
        """The document that a message completes.

        Raises:
            MalformedFrame, PeerMismatch: it does not go on as it should.
        """
        if len(frames) != 1:
            raise MalformedFrame("a message of several frames")
        parts = visitor.assembler.add(frames[0].buffer, LONGEST_BYTES)
        if parts is None:
            return None
        frame = decode(parts)
        if frame.session or frame.label != self._label or frame.sequence != visitor.received or frame.depth:
            raise PeerMismatch(f"expected frame {visitor.received} of {self._label}, without a session")
        visitor.received += 1
        if len(frame.specs) != 1 or frame.specs[0].bits != 8:
            raise PeerMismatch(f"{self._label}: expected a document")
        document = from_bytes(frame.payload[0], LONGEST_BYTES)
        if not isinstance(document, dict):
            raise MalformedFrame(f"{self._label}: a document must be a map")
        return cast(dict[str, Any], document)

    def _note_connections(self) -> None:
        """Follows what connections there are, and ends those that are too many, the oldest first."""
        while int(self._monitor.getsockopt(zmq.EVENTS)) & int(zmq.POLLIN):
            self._connections.note(self._monitor.recv_multipart()[0])
        waiting = self._connections.waiting(None)
        for descriptor in waiting[: max(0, len(waiting) - MAX_WAITING)]:
            self._connections.end(descriptor)
        for descriptor in self._connections.oldest(len(self._connections) - MAX_CONNECTIONS):
            self._connections.end(descriptor)
