"""mpcinfer under the plan `two-party`: server and client on the link, and nobody else.

Correlations are made while it runs: they are in its seconds and in its bytes, as they are in those of other
systems without a dealer.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from typing import Any

import torch

from bench.block import running
from bench.peers.additive_tasks import loaded, run_task
from bench.peers.drive import Measured, PeerFailed
from bench.peers.inside.sockets import between, received
from bench.peers.network import free_port, linked, meet
from bench.peers.tasks import TASKS, Task, block_of
from mpcinfer.benchmark.network import Network
from mpcinfer.models.fold import as_run
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.registry import get_plan
from mpcinfer.suites.two_party.ring import UNCALIBRATED_RING, ring_bits
from parties.bill import Bill
from parties.keys import KeyPair
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.tcp import Listener, connect
from protocols.two_party.counting import CountingArithmetic
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.primitives import FRAC_BITS
from protocols.two_party.registry import resolve
from protocols.two_party.source import TwoPartySource

PLAN = "two-party"
_TIMEOUT_S = 600.0


def _ring(task: Task) -> int:
    if task.kind != "block":
        return UNCALIBRATED_RING
    return ring_bits(as_run(block_of(task.name)[0], None, folds=True)[0], None)


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
    with Link(channel, Meter(), rank) as link:
        results.put((rank, _measured(link, TASKS[name], net)))


def _measured(link: Link, task: Task, net: dict[str, Any]) -> dict[str, Any]:
    suite, ring = resolve(get_plan(PLAN)), _ring(task)
    counting = CountingArithmetic(Meter(timed=False), ring, FRAC_BITS)
    shapes = SecureBackend(counting, suite, 1)
    run_task(shapes, task, loaded(shapes, task, own=False), _input(counting, task, None))
    source = TwoPartySource(link)
    executor = TwoPartyArithmetic(link, source, ring, FRAC_BITS)
    backend = SecureBackend(executor, suite, 1)
    weights = loaded(backend, task, own=link.rank == SERVER)
    value = torch.from_numpy(task.inputs.x)[None] if link.rank == CLIENT else None
    x = _input(executor, task, value)
    only = {net["listen"], net["reach"]}
    meet(link)
    before = received(only=only)
    meet(link)
    started = time.perf_counter()
    source.announce(counting.requests)
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


def _input(executor: CountingArithmetic | TwoPartyArithmetic, task: Task, value: torch.Tensor | None) -> Any:
    return executor.share_from(CLIENT, value, (1, *task.shape))


def measure(task: Task, network: Network, repeat: int) -> Measured:
    """Every repetition in processes of its own.

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
        offline_to_server=0,
        offline_to_client=0,
        memory={"server": server["memory"], "client": client["memory"]},
    )


def _repetition(task: Task, network: Network) -> dict[int, Any]:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with linked(network) as through:
        listen = free_port()
        net = {
            "keys": [KeyPair.generate() for _ in range(2)],
            "listen": listen,
            "reach": through(listen),
        }
        with running([(_party, (rank, task.name, net, results)) for rank in (SERVER, CLIENT)]):
            try:
                return dict(results.get(timeout=_TIMEOUT_S) for _ in (SERVER, CLIENT))
            except Exception as error:
                raise PeerFailed("a process of mpcinfer ended early or took too long") from error
