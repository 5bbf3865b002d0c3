"""What lies between the parties of a benchmark: nothing, our shaped channel, or an emulated network."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from mpcinfer.benchmark.emulation import Emulated, emulated
from mpcinfer.benchmark.network import LOOPBACK, Network, custom_network, network_named
from parties.channel import Channel
from parties.errors import ConfigError
from parties.shaped import Shaped


@contextmanager
def reached_through(how: str, network: Network) -> Generator[Emulated | None]:
    """The way from an endpoint at which a party listens to the one at which others reach it.

    Args:
        how: `loopback`, `shaped` or `emulated`; the first two leave endpoints alone.
    """
    if how != "emulated" or network == LOOPBACK:
        yield None
        return
    with emulated(network) as through:
        yield through


def shaped(channel: Channel, how: str, network: Network) -> Channel:
    """A party's end of the channel to the other, as slow as the network where it is to be shaped."""
    if how != "shaped" or network == LOOPBACK:
        return channel
    return Shaped(channel, latency_s=network.latency, bytes_per_s=network.bytes_per_s)


def network_to_json(network: Network) -> dict[str, Any]:
    """As plain values."""
    return {"name": network.name, "bandwidth": network.bandwidth, "latency": network.latency}


def network_from_json(document: dict[str, Any]) -> Network:
    """The network of `network_to_json`."""
    return Network(**document)


def networks_of(names: list[str], bandwidth: str | None, latency: str | None) -> list[Network]:
    """What a command line asks for: networks by name, and one by its numbers; loopback where neither.

    Raises:
        ConfigError: no such network, one number without the other, or no number with a unit.
    """
    networks = [network_named(name) for name in names]
    if (bandwidth is None) != (latency is None):
        raise ConfigError("--bandwidth and --latency go together: --bandwidth 200Mbit --latency 20ms")
    if bandwidth is not None and latency is not None:
        networks.append(custom_network(bandwidth, latency))
    return networks or [LOOPBACK]
