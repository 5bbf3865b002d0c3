"""Networks by name: bandwidth and latency, the same in both directions."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mpcinfer.benchmark.framing import line_bytes
from parties.errors import ConfigError
from parties.shaped import Shape
from protocols.plan import suggest

_UNITS = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A link between the parties.

    Attributes:
        bandwidth: bits a second in each direction; infinite where nothing limits it.
        latency: seconds one way; a round takes one, a round trip two.
        setting: whose setting it is, or what it stands for.
    """

    name: str
    bandwidth: float
    latency: float
    setting: str = ""

    @property
    def bytes_per_s(self) -> float | None:
        """As `parties.shaped.Shaped` takes it: None for no limit."""
        return None if math.isinf(self.bandwidth) else self.bandwidth / 8

    @property
    def shape(self) -> Shape:
        """As a shaped channel takes it, which counts no headers of TCP and below: they are taken off the
        bandwidth."""
        rate = self.bytes_per_s
        return Shape(latency_s=self.latency, bytes_per_s=None if rate is None else rate / line_bytes(1.0))


LOOPBACK = Network(
    name="loopback", bandwidth=math.inf, latency=0.0, setting="two processes on one machine, nothing added"
)
NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        LOOPBACK,
        Network(name="lan-10g", bandwidth=10e9, latency=0.05e-3, setting="one rack"),
        Network(name="lan-1g", bandwidth=1e9, latency=0.15e-3, setting="one building"),
        Network(
            name="wan-400m", bandwidth=400e6, latency=10e-3, setting="the setting of SIRNN, Cheetah and BOLT"
        ),
        Network(name="wan-100m", bandwidth=100e6, latency=40e-3, setting="between continents"),
    )
}


def network_named(name: str) -> Network:
    """A profile.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    raise ConfigError(f"no network {name!r}; {suggest(name, NETWORKS)}")


def custom_network(bandwidth: str, latency: str) -> Network:
    """One from what a command line says: `200Mbit` and `20ms`.

    Raises:
        ConfigError: no number with a unit, or not above zero.
    """
    bits, seconds = _quantity(bandwidth, _UNITS), _quantity(latency, _TIMES)
    if bits <= 0:
        raise ConfigError(f"a bandwidth is above zero, not {bandwidth!r}")
    return Network(name=f"{bandwidth}-{latency}", bandwidth=bits, latency=seconds, setting="custom")


def _quantity(text: str, units: dict[str, float]) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*", text)
    if found is None or found[2].lower() not in units:
        raise ConfigError(f"expected a number and one of {', '.join(units)}, got {text!r}")
    return float(found[1]) * units[found[2].lower()]
