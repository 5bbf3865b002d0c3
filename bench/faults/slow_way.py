"""A way to every port of a service that turns slow, byte by byte, when it is told to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

_LOOK_S = 0.02
_BUFFER_BYTES = 4096
_READ_BYTES = 1 << 16
_BYTE_S = 1.0


class SlowWay:
    """Listens at another address of this machine, at the same ports as the service does, and passes on.

    Args:
        ports: at which the service listens now.

    Attributes:
        host: the address.
        slow: once it is set, what comes from the service is read a byte a second.
    """

    def __init__(self, ports: Callable[[], set[int]], host: str = "127.0.0.2") -> None:
        self.host, self.slow = host, threading.Event()
        self._ports, self._over = ports, threading.Event()
        self._listeners: dict[int, socket.socket] = {}
        self._ends: list[socket.socket] = []
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> SlowWay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for end in [*self._listeners.values(), *self._ends]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _follow(self) -> None:
        """Listens where the service does."""
        while not self._over.wait(_LOOK_S):
            for port in self._ports() - self._listeners.keys():
                listener = socket.create_server((self.host, port))
                self._listeners[port] = listener
                threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()

    def _accept(self, listener: socket.socket, port: int) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
                self._ends += [near, far]
                far.connect(("127.0.0.1", port))
                for source, sink, slows in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._pass_on, args=(source, sink, slows), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, slows: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 if slows and self.slow.is_set() else _READ_BYTES):
                sink.sendall(data)
                if slows and self.slow.is_set():
                    time.sleep(_BYTE_S)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
