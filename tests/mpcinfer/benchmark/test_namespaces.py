"""What `tc` is told, and a way through two network namespaces where they can be had."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess

import pytest

from mpcinfer.benchmark import emulation, namespaces
from mpcinfer.benchmark.emulation import NETEM, RELAY, emulated
from mpcinfer.benchmark.namespaces import QUEUE_PACKETS, netem
from mpcinfer.benchmark.network import LOOPBACK, NETWORKS
from mpcinfer.benchmark.relay import connect
from parties.errors import ConfigError
from tests.deadlines import HANG_S


def _namespaces_can_be_made() -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"mpcinfer-test-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    return made and subprocess.run(["ip", "netns", "delete", name], check=False).returncode == 0


def test_what_netem_is_told() -> None:
    limit = ["limit", str(QUEUE_PACKETS)]
    assert netem(NETWORKS["wan-400m"]) == ["netem", "delay", "10000us", "rate", "400000000bit", *limit]
    assert netem(NETWORKS["lan-10g"]) == ["netem", "delay", "50us", "rate", "10000000000bit", *limit]
    assert netem(LOOPBACK) == []


@pytest.mark.skipif(not _namespaces_can_be_made(), reason="network namespaces take Linux, root and iproute2")
def test_a_connection_through_two_namespaces() -> None:
    """Without limits, so that the kernel need not have netem."""
    before = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    data = os.urandom(1 << 20)
    with emulated(LOOPBACK, NETEM) as through, socket.create_server(("127.0.0.1", 0)) as listener:
        assert through.means == NETEM
        port = int(through(f"tcp://127.0.0.1:{listener.getsockname()[1]}").rsplit(":", 1)[1])
        listener.settimeout(HANG_S)
        with connect(("127.0.0.1", port)) as near, listener.accept()[0] as far:
            far.settimeout(HANG_S)
            far.sendall(data[:1000])
            assert near.recv(1000, socket.MSG_WAITALL) == data[:1000]
            near.sendall(b"?")
            assert far.recv(1) == b"?"
    after = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    ours = f"mpcinfer-{os.getpid()}-"
    assert ours not in after, before


def test_means_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulation, "why_not", lambda: "this kernel has none")
    with pytest.raises(ConfigError, match="this kernel has none"), emulated(NETWORKS["lan-1g"], NETEM):
        pass
    with pytest.raises(ConfigError, match="by relay or netem"), emulated(LOOPBACK, "magic"):
        pass
    with emulated(LOOPBACK) as through:
        assert through.means == RELAY


def test_a_command_that_fails_is_named_with_its_words() -> None:
    with pytest.raises(ConfigError, match="false: 1"):
        namespaces._run("false")
    with pytest.raises(ConfigError, match="no-such-program"):
        namespaces._run("no-such-program")
