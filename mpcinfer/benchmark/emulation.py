"""Networks outside of the parties: their own code runs as it is, over links that are slow.

Every link gets the network's bandwidth and latency in each direction: between the parties, and between each
of them and the dealer, as for three parties at three places.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Generator

from mpcinfer.benchmark.namespaces import cross, netem, why_not
from mpcinfer.benchmark.network import Network
from mpcinfer.benchmark.relay import HOST, Line, bound, echo, one_way_s, relay
from parties.errors import ConfigError

RELAY, NETEM = "relay", "netem"
"""How an emulated network came about, as records say it: by a relay process of ours a link, or by the
kernel."""

MOST_OWN_S = 0.5e-3
"""No more is taken off the latency: a relay that is later than that waits for a processor, and not always."""


class Emulated:
    """A network; call it with an endpoint at which somebody listens, for the one at which others reach it.

    Attributes:
        network: what it behaves like.
        means: `RELAY` or `NETEM`.
        own_s: seconds a message takes through the relay besides the latency, as it was measured when the
            network was made. They are taken off the relay's delay, as far as there is any. 0 under netem.
    """

    def __init__(self, network: Network, means: str, running: contextlib.ExitStack) -> None:
        self.network, self.means, self._running = network, means, running
        self.own_s = 0.0
        self._line = Line(network.latency, network.bytes_per_s)
        if network.latency and means == RELAY:
            self.own_s = self._excess()
            self._line = Line(max(0.0, network.latency - self.own_s), network.bytes_per_s)

    def __call__(self, endpoint: str) -> str:
        port = int(endpoint.rsplit(":", 1)[1])
        if self.means == NETEM:
            return f"tcp://{HOST}:{cross(self.network, port, self._running)}"
        return f"tcp://{HOST}:{self._relay(port, self._running)}"

    def _relay(self, port: int, running: contextlib.ExitStack) -> int:
        """Starts one for as long as the block lasts; its port."""
        with bound() as listener:
            process = multiprocessing.get_context("spawn").Process(
                target=relay, args=(listener, port, self._line), daemon=True
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
            own_s = one_way_s(relayed) - one_way_s(port) - self.network.latency
            return min(max(0.0, own_s), MOST_OWN_S)


@contextlib.contextmanager
def emulated(network: Network, means: str | None = None) -> Generator[Emulated]:
    """A network for as long as the block lasts; nothing but loopback where it has no limits.

    Args:
        means: `RELAY` or `NETEM`; None for netem where it can be had, else a relay.

    Yields:
        What `mpcinfer.roles.together.private` takes as `through`.

    Raises:
        ConfigError: netem was asked for and cannot be had, or something else was; also when it is called.
    """
    if means not in (None, RELAY, NETEM):
        raise ConfigError(f"networks are emulated by {RELAY} or {NETEM}, not by {means!r}")
    if means == NETEM and netem(network) and why_not():
        raise ConfigError(f"no netem here: {why_not()}")
    with contextlib.ExitStack() as running:
        yield Emulated(network, means or (RELAY if why_not() else NETEM), running)
