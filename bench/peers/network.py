"""A network between two processes of this machine: relays with a bandwidth and a delay."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from mpcinfer.benchmark.network import Network

HOST = "127.0.0.1"
_CHUNK_BYTES = 1 << 16
_CONNECT_S = 120.0
_RETRY_S = 0.05
_AHEAD_BYTES = 1 << 22
"""Bytes that a relay holds in each direction before it lets the sender wait, as a socket's buffers do."""
FIRST_PORT, LAST_PORT = 20_000, 30_000
"""Where relays listen: below the ports that Linux gives out by itself."""

Late = queue.Queue[tuple[float, bytes]]


@contextlib.contextmanager
def linked(network: Network) -> Generator[Callable[[int], int]]:
    """Relays for as long as the block lasts.

    Yields:
        From a port of a party to the one at which the other reaches it over the network. On loopback that is
        the same port.
    """
    if network.bytes_per_s is None and network.latency == 0:
        yield lambda port: port
        return
    context, running = multiprocessing.get_context("spawn"), contextlib.ExitStack()

    def through(port: int) -> int:
        listener = running.enter_context(_listener())
        args = (listener, port, network.latency, network.bytes_per_s)
        process = context.Process(target=_serve, args=args, daemon=True)
        process.start()
        running.callback(process.join)
        running.callback(process.terminate)
        return listener.getsockname()[1]

    with running:
        yield through


def _listener() -> socket.socket:
    for port in range(FIRST_PORT, LAST_PORT):
        with contextlib.suppress(OSError):
            return socket.create_server((HOST, port))
    raise OSError(f"no free port from {FIRST_PORT} to {LAST_PORT}")


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.create_server((HOST, 0)) as listener:
        return listener.getsockname()[1]


def _serve(listener: socket.socket, port: int, delay_s: float, bytes_per_s: float | None) -> None:
    while True:
        near, _ = listener.accept()
        args = (near, port, delay_s, bytes_per_s)
        threading.Thread(target=_connection, args=args, daemon=True).start()


def _connection(near: socket.socket, port: int, delay_s: float, bytes_per_s: float | None) -> None:
    with near, _connected(port) as far:
        ways = [
            threading.Thread(target=_pass_on, args=(*way, delay_s, bytes_per_s), daemon=True)
            for way in ((near, far), (far, near))
        ]
        for way in ways:
            way.start()
        for way in ways:
            way.join()


def _connected(port: int) -> socket.socket:
    """Waits for somebody to listen there: parties start in any order."""
    deadline = time.monotonic() + _CONNECT_S
    while True:
        try:
            return socket.create_connection((HOST, port))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)


def _pass_on(source: socket.socket, sink: socket.socket, delay_s: float, bytes_per_s: float | None) -> None:
    """One direction: one thread reads and notes when what came has passed, this one sends when it is time."""
    late: Late = queue.Queue(max(1, _AHEAD_BYTES // _CHUNK_BYTES) if delay_s < 1e-3 else 0)
    sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    args: tuple[Any, ...] = (source, late, delay_s, bytes_per_s)
    threading.Thread(target=_read, args=args, daemon=True).start()
    with contextlib.suppress(OSError):  # whoever should get it is gone
        while True:
            due, data = late.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)


def _read(source: socket.socket, late: Late, delay_s: float, bytes_per_s: float | None) -> None:
    """A byte leaves when those before it have; it arrives one delay later."""
    data, left = b"first", 0.0
    while data:
        try:
            data = source.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        left = max(left, time.monotonic()) + (len(data) / bytes_per_s if bytes_per_s else 0.0)
        late.put((left + delay_s, data))
