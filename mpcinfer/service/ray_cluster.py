"""A Ray cluster to start processes in, as far as this project may trust it.

Ray runs what it is sent: whoever reaches its ports can run code on every node, and read the keys there. It
unpickles what it moves; only what our own processes made is given to it here, never bytes of a peer. What it
moves between nodes is plain text unless `RAY_USE_TLS=1` (and certificates) is set for all of them: a cluster
of several machines without it is refused, unless that is asked for.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
import shlex
import socket
import sys
from contextlib import suppress
from typing import Any, cast

from parties.errors import ConfigError, InsecureRefused

_USES_TLS = ("1", "true", "yes")


class RayCluster:
    """A cluster that this process is a driver of; what it starts there ends with it.

    Args:
        address: `auto` for the cluster that this machine is a node of, `host:port` of another one's head, or
            `local` for one of this machine alone that ends with this process.
        insecure: several machines are allowed without TLS.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
        InsecureRefused: it has other machines and no TLS, and that was not asked for.
    """

    def __init__(self, address: str, *, insecure: bool = False) -> None:
        self.ray, self._insecure = _ray(), insecure
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a new cluster reports to its makers
        try:
            self.ray.init(address=address, log_to_driver=False, logging_level="warning")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from None
        try:
            self.require_private()
        except InsecureRefused:
            self.close()
            raise

    @property
    def nodes(self) -> list[str]:
        """Addresses of the nodes that live."""
        nodes = cast(list[dict[str, Any]], self.ray.nodes())
        return [str(node["NodeManagerAddress"]) for node in nodes if node["Alive"]]

    @property
    def cores(self) -> int:
        """That the nodes offer, together."""
        return int(self.ray.cluster_resources().get("CPU", 0))

    def require_private(self) -> None:
        """All nodes are this machine, or they speak TLS. Nodes may join: to be asked before anything is sent.

        Raises:
            InsecureRefused: neither, and it was not asked for.
        """
        others = [address for address in self.nodes if not _is_here(address)]
        if others and not self._insecure and os.environ.get("RAY_USE_TLS", "").lower() not in _USES_TLS:
            raise InsecureRefused(
                f"the Ray cluster has {len(others)} nodes on other machines, and without RAY_USE_TLS=1 "
                "everything between them can be read: set up TLS, or say --insecure-ray"
            )

    def close(self) -> None:
        """Ends what it started; safe to repeat."""
        self.ray.shutdown()


def _ray() -> Any:
    """The library, which is an extra.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError:
        command = f"{shlex.quote(sys.executable)} -m pip install 'mpcinfer[ray]'"
        raise ConfigError(f"--ray needs Ray: {command}") from None


def _is_here(address: str) -> bool:
    """Whether an IP address is one of this machine's: only those can be bound."""
    with suppress(OSError, ValueError):
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family) as probe:
            probe.bind((address, 0))
            return True
    return False
