"""A thread that watches a socket's connections, also while its owner computes or waits for something else.

It answers who may come in, ends connections of strangers that are too many, notices the loss of the peer's,
and ends that too where the peer makes more wait in this process than it may.
"""

from __future__ import annotations

import contextlib
import threading

import zmq

from parties.tcp.authenticator import ZapAuthenticator
from parties.tcp.connections import Connections, Event

MAX_WAITING = 32
"""Connections that are not in yet; of more, the oldest are ended, those of whoever does not know this party's
public key before others."""
MAX_QUEUED_BYTES = 1 << 27
"""Bytes that the peer sent and nobody has read, in 0MQ's and the kernel's buffers together."""
_LOOK_MS = 100
_NO_CURVE = "one without CURVE, or with another server key than ours"

_Socket = zmq.Socket[bytes]


class ConnectionWatcher:
    """Owns a socket's monitor and its authenticator; made, asked and closed by the thread that owns the
    socket.

    Args:
        context: of the socket.
        monitor: reports what happens to it.
        connections: kept by this watcher alone from now on.
        authenticator: at the listening end.

    Attributes:
        news: has something to read when an attribute has changed; `hear` reads it.
        succeeded: whether a peer is in.
        ours: the descriptor of its connection, as soon as that is known.
        lost: whether that has ended.
        flooded: whether it was ended because too much of what it sent waited.
        failed: at the connecting end, the event that ended the attempt.
        delivered: bytes on the wire of what the owner has read; the owner's to count.
    """

    def __init__(
        self,
        context: zmq.Context[_Socket],
        monitor: _Socket,
        connections: Connections,
        authenticator: ZapAuthenticator | None,
    ) -> None:
        self._monitor, self._connections, self.authenticator = monitor, connections, authenticator
        self.succeeded = self.lost = self.flooded = False
        self.ours: int | None = None
        self.failed: Event | None = None
        self.delivered = 0
        self._coming_in = frozenset[int]()
        self.news: _Socket = context.socket(zmq.PAIR)
        self.news.bind("inproc://watcher")
        self._owner: _Socket = context.socket(zmq.PAIR)
        self._owner.connect("inproc://watcher")
        self._thread = threading.Thread(target=self._watch, name="mpcinfer-watcher", daemon=True)
        self._thread.start()

    def hear(self) -> None:
        """Empties `news`."""
        with contextlib.suppress(zmq.Again):
            while True:
                self.news.recv(zmq.DONTWAIT)

    def close(self) -> None:
        """Ends the thread, and with it the sockets it has."""
        self.news.send(b"")
        self._thread.join()
        self.news.close(0)

    # -- in the thread -------------------------------------------------------------------------------------

    def _watch(self) -> None:
        poller = zmq.Poller()
        for socket in (self._monitor, self._owner):
            poller.register(socket, zmq.POLLIN)
        if self.authenticator is not None:
            poller.register(self.authenticator.socket, zmq.POLLIN)
        while not self._owner.poll(0):
            poller.poll(_LOOK_MS)
            before = self._state()
            self._note_events()
            if self.authenticator is not None:
                self._answer(self.authenticator)
                self._end_the_oldest(self.authenticator)
            self._find_ours()
            self._end_a_flood()
            if self._state() != before:
                with contextlib.suppress(zmq.Again):
                    self._owner.send(b"", zmq.DONTWAIT)
        self._monitor.close(0)
        self._owner.close(0)
        if self.authenticator is not None:
            self.authenticator.close()

    def _state(self) -> tuple[object, ...]:
        refused = self.authenticator.refused if self.authenticator is not None else ""
        return self.succeeded, self.ours, self.lost, self.failed, refused, len(self._connections)

    def _note_events(self) -> None:
        while int(self._monitor.getsockopt(zmq.EVENTS)) & int(zmq.POLLIN):
            event, value = self._connections.note(self._monitor.recv_multipart()[0])
            if event == Event.HANDSHAKE_SUCCEEDED:
                self.succeeded = True
                self._find_ours()
            elif event == Event.HANDSHAKE_FAILED_PROTOCOL and self.authenticator is not None:
                self.authenticator.refused = _NO_CURVE
            elif event == Event.DISCONNECTED and self.succeeded:
                self.lost = self.lost or self._was_ours(value)
            if event in (Event.HANDSHAKE_FAILED_AUTH, Event.CLOSED, Event.DISCONNECTED):
                self.failed = self.failed or Event(event)

    def _find_ours(self) -> None:
        if self.succeeded and self.ours is None and not self.lost:
            self.ours = self._connections.ours()

    def _was_ours(self, descriptor: int) -> bool:
        """Counts the loss of either of two connections that could not be told apart."""
        return self.ours in (descriptor, None)

    def _answer(self, authenticator: ZapAuthenticator) -> None:
        """Whoever is let in now is one of those that are welcome now, and is not ended on its way in."""
        before = authenticator.granting
        authenticator.answer()
        if authenticator.granting and not before:
            self._note_events()
            self._coming_in = self._connections.welcome()

    def _end_the_oldest(self, authenticator: ZapAuthenticator) -> None:
        kept = self._coming_in if self.ours is None and authenticator.granting else frozenset[int]()
        waiting = self._connections.waiting(None if self.lost else self.ours)
        for descriptor in waiting[: max(0, len(waiting) - MAX_WAITING)]:
            if descriptor not in kept:
                self._connections.end(descriptor)

    def _end_a_flood(self) -> None:
        """Cuts off a peer whose frames have no end: 0MQ's own high-water mark does not hold there."""
        if self.ours is None or self.lost or self.flooded:
            return
        counted = self._connections.kernel_bytes(self.ours)
        preamble = self._connections.preamble_bytes[1]
        if counted is not None and counted[1] - preamble - self.delivered > MAX_QUEUED_BYTES:
            self.flooded = True
            self._connections.end(self.ours)
