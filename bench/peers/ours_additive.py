"""mpcinfer under the plan `crypten`: server and client on the link, the dealer beside them on loopback."""

from __future__ import annotations

import multiprocessing
import resource
import time
from typing import Any

import torch

from bench.block import run_dealer, running
from bench.peers.additive_tasks import loaded, run_task
from bench.peers.drive import Measured, PeerFailed
from bench.peers.inside.sockets import between, received
from bench.peers.network import free_port, linked, meet
from bench.peers.tasks import TASKS, Task
from mpcinfer.benchmark.network import Network
from mpcinfer.sessions.addresses import Address
from mpcinfer.suites.additive.session import connected_executor
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from parties.keys import KeyPair
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.tcp import Listener, connect
from protocols.additive.crypten.executor import CrypTenArithmetic
from protocols.additive.registry import resolve

PLAN = "crypten"
_TIMEOUT_S = 300.0


def _party(rank: int, name: str, net: dict[str, Any], results: Any) -> None:
    torch.set_num_threads(1)
    keys: KeyPair = net["keys"][rank]
    if rank == SERVER:
        endpoint = f"tcp://127.0.0.1:{net['listen']}"
        channel = Listener(endpoint, keys, [net["keys"][CLIENT].public]).accept(_TIMEOUT_S, _TIMEOUT_S)
    else:
        endpoint = f"tcp://127.0.0.1:{net['reach']}"
        server = net["keys"][SERVER].public
        channel = connect(endpoint, keys, server, connect_timeout_s=_TIMEOUT_S, recv_timeout_s=_TIMEOUT_S)
    dealer = Address(net["dealer"][rank], net["keys"][2].public)
    with (
        Link(channel, Meter(), rank) as link,
        connected_executor(link, get_plan(PLAN), name, keys, dealer, _TIMEOUT_S) as executor,
    ):
        results.put((rank, _measured(executor, link, TASKS[name], net)))


def _measured(executor: CrypTenArithmetic, link: Link, task: Task, net: dict[str, Any]) -> dict[str, Any]:
    backend = SecureBackend(executor, resolve(get_plan(PLAN)), 1)
    weights = loaded(backend, task, own=link.rank == SERVER)
    value = torch.from_numpy(task.inputs.x)[None] if link.rank == CLIENT else None
    x = executor.share_from(CLIENT, value, (1, *task.shape))
    only = {net["listen"], net["reach"]}
    meet(link)
    before = received(only=only)
    meet(link)
    started = time.perf_counter()
    y = run_task(backend, task, weights, x)
    seconds = time.perf_counter() - started
    meet(link)
    counted = between(before, received(only=only))
    meet(link)
    bill = executor.meter.bill()
    opened = executor.open_to(CLIENT, y)
    return {
        "bill": bill.to_json(),
        "seconds": seconds,
        "received": counted,
        "memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "value": None if opened is None else opened.numpy(),
    }


def measure(task: Task, network: Network, repeat: int) -> Measured:
    """Every repetition in processes of its own; correlations come while it runs, and are in its seconds.

    Raises:
        PeerFailed: a process ended with an error; it has said which.
    """
    runs = [_repetition(task, network) for _ in range(repeat)]
    server, client = runs[0][SERVER], runs[0][CLIENT]
    bill = Bill.from_json(client["bill"])
    total = Bill(rows=[row for row in bill.rows if row.label.split(".")[0] == task.name]).total
    return Measured(
        seconds=[max(run[SERVER]["seconds"], run[CLIENT]["seconds"]) for run in runs],
        to_server=server["received"],
        to_client=client["received"],
        rounds=total.rounds,
        output=client["value"][0],
        offline_to_server=total.offline_bytes_to_server,
        offline_to_client=total.offline_bytes_to_client,
        memory={"server": server["memory"], "client": client["memory"]},
    )


def _repetition(task: Task, network: Network) -> dict[int, Any]:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with linked(network) as through:
        listen = free_port()
        net = {
            "keys": [KeyPair.generate() for _ in range(3)],
            "listen": listen,
            "reach": through(listen),
            "dealer": [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)],
        }
        targets: list[tuple[Any, tuple[Any, ...]]] = [(run_dealer, (net,))]
        targets += [(_party, (rank, task.name, net, results)) for rank in (SERVER, CLIENT)]
        with running(targets):
            try:
                return dict(results.get(timeout=_TIMEOUT_S) for _ in (SERVER, CLIENT))
            except Exception as error:
                raise PeerFailed("a process of mpcinfer ended early or took too long") from error
