"""A network between two processes of this machine, by relays at ports that a peer's gloo can be told of."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import socket
from collections.abc import Callable, Generator

import numpy as np

from mpcinfer.benchmark.emulation import RELAY, Emulated
from mpcinfer.benchmark.network import Network
from mpcinfer.benchmark.relay import Line, serve
from parties.link import Link

HOST = "127.0.0.1"
FIRST_PORT, LAST_PORT = 20_000, 30_000
"""Where relays listen: below the ports that Linux gives out by itself, see `inside/gloo_store.py`."""


@contextlib.contextmanager
def linked(network: Network) -> Generator[Callable[[int], int]]:
    """Relays for as long as the block lasts.

    Yields:
        From a port of a party to the one at which the other reaches it over the network. On loopback that is
        the same port.
    """
    if math.isinf(network.bandwidth) and network.latency == 0:
        yield lambda port: port
        return
    with contextlib.ExitStack() as running:
        own_s = Emulated(network, RELAY, running).own_s
        line = Line(max(0.0, network.latency - own_s), network.bytes_per_s)

        def through(port: int) -> int:
            with _listener() as listener:
                process = multiprocessing.get_context("spawn").Process(
                    target=serve, args=(listener, (HOST, port), line), daemon=True
                )
                process.start()
                running.callback(process.join)
                running.callback(process.terminate)
                return listener.getsockname()[1]

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


def meet(link: Link) -> None:
    """Both parties of ours wait for each other: one round of a byte."""
    link.exchange([np.zeros(1, dtype=np.uint8)], 8, "ready")
