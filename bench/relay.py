"""A network that is slower than this machine's: relays that deliver every byte late, and in order.

A relay listens at a port of the loopback interface and passes on, both ways, to another: what comes in goes
out one delay later. Bandwidth is not limited. It works below encryption and framing, so that parties need not
know of it, and in a process of its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import socket
import threading
import time
from collections.abc import Callable, Generator

_HOST = "127.0.0.1"
_CHUNK_BYTES = 1 << 16
_CONNECT_S = 120.0
_RETRY_S = 0.05

Late = queue.SimpleQueue[tuple[float, bytes]]
"""When to send, and what; nothing at the end."""


@contextlib.contextmanager
def relays(delay_s: float) -> Generator[Callable[[str], str]]:
    """Makes relays for as long as the block lasts.

    Args:
        delay_s: of each direction, in seconds.

    Yields:
        A function from a party's endpoint, `tcp://127.0.0.1:port`, to the one at which others reach it, late.
    """
    context, running = multiprocessing.get_context("spawn"), contextlib.ExitStack()

    def through(endpoint: str) -> str:
        listener = running.enter_context(socket.create_server((_HOST, 0)))
        port = int(endpoint.rsplit(":", 1)[1])
        process = context.Process(target=_serve, args=(listener, port, delay_s), daemon=True)
        process.start()
        running.callback(process.join)
        running.callback(process.terminate)
        return f"tcp://{_HOST}:{listener.getsockname()[1]}"

    with running:
        yield through


def _serve(listener: socket.socket, port: int, delay_s: float) -> None:
    """Passes on every connection that comes."""
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_connection, args=(near, port, delay_s), daemon=True).start()


def _connection(near: socket.socket, port: int, delay_s: float) -> None:
    with near, _connect(port) as far:
        ways = [
            threading.Thread(target=_pass_on, args=(*way, delay_s), daemon=True)
            for way in ((near, far), (far, near))
        ]
        for way in ways:
            way.start()
        for way in ways:
            way.join()


def _connect(port: int) -> socket.socket:
    """Waits for somebody to listen there: parties start in any order."""
    deadline = time.monotonic() + _CONNECT_S
    while True:
        try:
            return socket.create_connection((_HOST, port))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)


def _pass_on(source: socket.socket, sink: socket.socket, delay_s: float) -> None:
    """One direction: one thread reads and notes when, this one sends when it is time."""
    late: Late = queue.SimpleQueue()
    sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=_read, args=(source, late, delay_s), daemon=True).start()
    with contextlib.suppress(OSError):  # whoever should get it is gone
        while True:
            due, data = late.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)


def _read(source: socket.socket, late: Late, delay_s: float) -> None:
    data = b"first"
    while data:
        try:
            data = source.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        late.put((time.monotonic() + delay_s, data))
