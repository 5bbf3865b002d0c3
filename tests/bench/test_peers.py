"""Peers: what is counted at sockets, who may import what, and cases that all systems agree on."""

from __future__ import annotations

import ast
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.peers.drive import Peer, PeerFailed
from bench.peers.inside.sockets import between, received
from bench.peers.network import linked
from bench.peers.report import latest, online_bytes
from bench.peers.systems import SYSTEMS
from bench.peers.tasks import TASKS, block_of, task_named
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.benchmark.network import LOOPBACK, Network
from mpcinfer.models.decoder import Decoder
from parties.errors import ConfigError

INSIDE = Path(__file__).parents[2] / "bench" / "peers" / "inside"
OURS = {"mpcinfer", "protocols", "parties"}


@pytest.mark.parametrize("name", ["block", "softmax-block"])
def test_a_block_is_the_one_that_the_decoder_computes(name: str) -> None:
    config, weights = block_of(name)
    task = TASKS[name]
    x = torch.from_numpy(task.inputs.x).double()[None]
    y = Decoder(PlainBackend(), config, {key: value.double() for key, value in weights.items()}).stack(x)
    assert np.allclose(y[0].numpy(), task.reference, atol=1e-9)


def test_what_runs_inside_imports_nothing_of_ours() -> None:
    for path in INSIDE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.split(".")[0] for name in names} & OURS, path
            assert all(name.startswith("bench.peers.inside") for name in names if name.startswith("bench"))


@pytest.mark.parametrize(
    "network", [LOOPBACK, Network(name="fast", bandwidth=10e9, latency=1e-4)], ids=["loopback", "relayed"]
)
def test_the_kernel_counts_what_arrives(network: Network) -> None:
    sent = b"x" * 300_000
    with socket.create_server(("127.0.0.1", 0)) as listener, linked(network) as through:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", through(port))) as near:
            far, _ = listener.accept()
            with far:
                before = received(only={port})
                sender = threading.Thread(target=near.sendall, args=(sent,))
                sender.start()
                left = len(sent)
                while left:
                    left -= len(far.recv(1 << 16))
                sender.join()
                assert between(before, received(only={port})) == len(sent)
                assert not received(only={port}, without={port})


def test_a_connection_that_is_gone_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="closed"):
        between({1: 5}, {})


def test_a_peer_that_is_not_installed_says_so() -> None:
    peer = Peer(system="none", environment="no-such-peer", module="run_torch")
    with pytest.raises(PeerFailed, match="make peers"):
        peer.run(TASKS["relu"], LOOPBACK, 1, warm_ups=0, limit_s=1.0)


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(ConfigError, match="matmul"):
        task_named("nothing")


def test_records_are_of_known_cases_and_never_published_ones() -> None:
    for (_, case, system), record in latest().items():
        assert case in TASKS
        assert system in SYSTEMS
        assert record.trust == SYSTEMS[system].trust
        assert record.failed or (record.seconds and online_bytes(record) > 0)
        assert "published" not in record.how
