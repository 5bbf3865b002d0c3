"""Networks outside of the parties: their own code runs as it is, over links that are slow.

Every link gets the network's bandwidth and latency in each direction: between the parties, and between each
of them and the dealer, as for three parties at three places.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import time
from collections.abc import Callable, Generator

from mpcinfer.benchmark.network import Network
from mpcinfer.benchmark.relay import HOST, Line, echo, one_way_s, serve

RELAY = "relay"
"""How an emulated network came about, as records say it: a relay process of ours a link."""
Through = Callable[[str], str]


class Emulated:
    """A network; call it with an endpoint at which somebody listens, for the one at which others reach it.

    Attributes:
        network: what it behaves like.
        means: `RELAY`.
        own_s: seconds a message takes through the relay besides the latency, as it was measured when the
            network was made. They are taken off the relay's delay, as far as there is any.
    """

    def __init__(self, network: Network, running: contextlib.ExitStack) -> None:
        self.network, self.means, self._running = network, RELAY, running
        self.own_s = 0.0
        self._line = Line(network.latency, network.bytes_per_s)
        if network.latency:
            self.own_s = self._excess()
            self._line = Line(max(0.0, network.latency - self.own_s), network.bytes_per_s)

    def __call__(self, endpoint: str) -> str:
        return f"tcp://{HOST}:{self._relay(int(endpoint.rsplit(':', 1)[1]), self._running)}"

    def _relay(self, port: int, running: contextlib.ExitStack) -> int:
        """Starts one for as long as the block lasts; its port."""
        with socket.create_server((HOST, 0)) as listener:
            process = multiprocessing.get_context("spawn").Process(
                target=serve, args=(listener, port, self._line), daemon=True
            )
            process.start()
            running.callback(process.join)
            running.callback(process.terminate)
            return listener.getsockname()[1]

    def _excess(self) -> float:
        """How much later than asked for a byte comes through a relay, against one that comes directly."""
        with contextlib.ExitStack() as running, echo() as port:
            relayed = self._relay(port, running)
            one_way_s(relayed)  # the first one waits for the process
            time.sleep(0.05)
            return max(0.0, one_way_s(relayed) - one_way_s(port) - self.network.latency)


@contextlib.contextmanager
def emulated(network: Network) -> Generator[Emulated]:
    """A network for as long as the block lasts; nothing but loopback where it has no limits.

    Yields:
        What `mpcinfer.roles.together.private` takes as `through`.
    """
    with contextlib.ExitStack() as running:
        yield Emulated(network, running)
