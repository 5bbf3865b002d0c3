"""A network that is slower than this machine's: a relay between two ports, in a process of its own.

It listens at a port of the loopback interface and passes on, both ways, to another. Each direction has its
own line: bytes leave it one after the other at the bandwidth, and arrive one latency later. It works below
encryption and framing, so that parties need not know of it. TCP ends at the relay and begins again, so that
its slow start over a long way is not in it; queues are not bounded by the network either, nothing is lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from mpcinfer.benchmark.framing import line_bytes

HOST = "127.0.0.1"
_READ_BYTES = 1 << 16
_PIECE_S = 0.5e-3
_QUEUED_BYTES = 1 << 24
_CONNECT_S = 120.0
_RETRY_S = 0.05
_IDLE_S = 60.0
_PINGS = 15
_PR_SET_TIMERSLACK = 29
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Line:
    """One direction of a link.

    Attributes:
        delay_s: seconds from when a byte has left to when it is passed on.
        bytes_per_s: of the link, headers included; None for no limit.
    """

    delay_s: float
    bytes_per_s: float | None

    @property
    def piece_bytes(self) -> int:
        """How much is delivered at once: what leaves in half a millisecond, a segment or more."""
        if self.bytes_per_s is None:
            return _READ_BYTES
        return min(_READ_BYTES, max(1448, int(self.bytes_per_s * _PIECE_S)))


class Direction:
    """What came in and has not been passed on.

    Args:
        source, sink: sockets that do not block.
    """

    def __init__(self, source: socket.socket, sink: socket.socket, line: Line) -> None:
        self.source, self.sink, self._line = source, sink, line
        self._queue: deque[tuple[float, memoryview]] = deque()
        self._queued, self._free_s = 0, 0.0
        self.ended = self.closed = self.blocked = False

    @property
    def hungry(self) -> bool:
        """Whether more may be read."""
        return not self.ended and self._queued < _QUEUED_BYTES

    @property
    def due_s(self) -> float | None:
        """When something is to be passed on; None where nothing is, or the sink is full."""
        return self._queue[0][0] if self._queue and not self.blocked else None

    def read(self, now: float) -> None:
        """Takes what has come and notes when each piece of it is due."""
        try:
            data = self.source.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.ended = not data
        view, piece, rate = memoryview(data), self._line.piece_bytes, self._line.bytes_per_s
        for start in range(0, len(data), piece):
            part = view[start : start + piece]
            self._free_s = max(now, self._free_s) + (0.0 if rate is None else line_bytes(len(part)) / rate)
            self._queue.append((self._free_s + self._line.delay_s, part))
            self._queued += len(part)

    def deliver(self, now: float) -> None:
        """Passes on what is due, as far as the sink takes it.

        Raises:
            OSError: whoever should get it is gone.
        """
        while self._queue and self._queue[0][0] <= now:
            due, part = self._queue[0]
            try:
                sent = self.sink.send(part)
            except BlockingIOError:
                self.blocked = True
                return
            self._queued -= sent
            if sent < len(part):
                self._queue[0], self.blocked = (due, part[sent:]), True
                return
            self._queue.popleft()
        self.blocked = False
        if self.ended and not self._queue and not self.closed:
            self.closed = True
            self.sink.shutdown(socket.SHUT_WR)


def bound() -> socket.socket:
    """A socket with a port of the loopback interface that refuses connections until it listens."""
    result = socket.socket()
    result.bind((HOST, 0))
    return result


def await_listener(port: int) -> None:
    """Waits until somebody listens at a port of this machine, where the kernel tells (Linux).

    Whoever connects to a relay before that is refused and tries again. A connection that the relay took
    would have to finish its handshake in time, however long the other party takes to start.
    """
    while _listened_at(port) is False:
        time.sleep(_RETRY_S)


def _listened_at(port: int) -> bool | None:
    """None where the kernel does not tell."""
    try:
        lines = [line for name in _TABLES for line in Path(name).read_text().splitlines()[1:]]
    except OSError:
        return None
    return any(words[1].endswith(f":{port:04X}") and words[3] == "0A" for words in map(str.split, lines))


def serve(listener: socket.socket, to: Address, line: Line) -> None:
    """Passes on every connection that comes, until the process is ended.

    Args:
        listener: of `bound`; begins to listen now.
        to: where somebody listens or soon will.
        line: of both directions, each on its own.
    """
    _fine_timers()
    listener.listen()
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_connection, args=(near, to, line), daemon=True).start()


def _fine_timers() -> None:
    """Has the kernel wake this process on time and not up to 50 microseconds later, where it can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def _connection(near: socket.socket, to: Address, line: Line) -> None:
    with near, connect(to) as far, contextlib.suppress(OSError):
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _fine_timers()
        pass_on(Direction(near, far, line), Direction(far, near, line))


def pass_on(*ways: Direction) -> None:
    """Both directions of one connection, until both have ended.

    Raises:
        OSError: an end is gone.
    """
    while not all(way.closed for way in ways):
        dues = [way.due_s for way in ways if way.due_s is not None]
        wait = max(0.0, min(dues) - time.monotonic()) if dues else _IDLE_S
        reading = [way.source for way in ways if way.hungry]
        writing = [way.sink for way in ways if way.blocked]
        came, took, _ = select.select(reading, writing, [], wait)
        now = time.monotonic()
        for way in ways:
            if way.source in came:
                way.read(now)
            if way.sink in took:
                way.blocked = False
            if not way.blocked:
                way.deliver(now)


def relay(listener: socket.socket, port: int, line: Line) -> None:
    """Serves a way to a port of this machine, once somebody listens there."""
    await_listener(port)
    serve(listener, (HOST, port), line)


def connect(to: Address) -> socket.socket:
    """Waits for somebody to listen there: parties start in any order."""
    deadline = time.monotonic() + _CONNECT_S
    while True:
        try:
            return socket.create_connection(to)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)


@contextlib.contextmanager
def echo() -> Generator[int]:
    """A port of the loopback interface that answers each byte with one."""
    with socket.create_server((HOST, 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    end, _ = listener.accept()
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    with end:
                        while data := end.recv(1):
                            end.sendall(data)

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]


def one_way_s(port: int) -> float:
    """Half of the least time in which a byte comes back from an `echo`: what other work on the machine adds
    is not the way's own."""
    with connect((HOST, port)) as end:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        trips: list[float] = []
        for _ in range(_PINGS):
            started = time.monotonic()
            end.sendall(b"p")
            end.recv(1)
            trips.append(time.monotonic() - started)
    return min(trips) / 2
