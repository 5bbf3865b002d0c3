"""Making the correlations of a GPT-2 block without a dealer: seconds of each kind, and memory.

    python -m bench.two_party_offline                    a block at 128 tokens
    python -m bench.two_party_offline stack/gpt2/own/two-party/T128
    python -m bench.two_party_offline --record           also appends to bench/records/offline.jsonl

Server and client are processes with as many threads as parties have, connected over encrypted loopback TCP,
with random weights. Seconds are of the processor, of all threads of a party, so that others on the same cores
do not count; wall time is the server's. Correlations are made and dropped. Bytes are compared with the count.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import multiprocessing
import resource
import time
from collections import defaultdict
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.block import running
from bench.records import RECORDS, Record
from mpcinfer.benchmark.cases import parse
from mpcinfer.suites.task import Task
from mpcinfer.suites.two_party.tasks import requests_of
from parties.bill import Bill
from parties.keys import KeyPair
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.tcp import Listener, connect
from protocols.two_party.correlations import Kind, Request
from protocols.two_party.costs import SourceCosts
from protocols.two_party.source import TwoPartySource

_TIMEOUT_S = 600.0
_WEIGHT = 1 << 14
"""Weights are below a quarter, with 16 fraction bits."""


class Clock:
    """Processor seconds of this process by the span that began last."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._name, self._since = "", time.process_time()

    def __call__(self, name: str) -> None:
        now = time.process_time()
        self.seconds[self._name] += now - self._since
        self._name, self._since = name, now


def _party(rank: int, task: Task, net: dict[str, Any], results: Any) -> None:
    keys: KeyPair = net["keys"][rank]
    if rank == SERVER:
        channel = Listener(net["server"], keys, [net["keys"][CLIENT].public]).accept(_TIMEOUT_S, _TIMEOUT_S)
    else:
        peer = net["keys"][SERVER].public
        channel = connect(net["server"], keys, peer, connect_timeout_s=_TIMEOUT_S, recv_timeout_s=_TIMEOUT_S)
    with Link(channel, Meter(), rank) as link:
        requests = requests_of(task)
        link.meter.on_span = clock = Clock()
        started = time.perf_counter()
        source = TwoPartySource(link)
        _hold(source, requests, rank)
        source.announce(requests)
        for request in requests:
            source.take(request)
        clock("end")
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        results.put((rank, link.meter.bill().to_json(), dict(clock.seconds), seconds, peak))


def _hold(source: TwoPartySource, requests: list[Request], rank: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for request in requests:
        if request.kind in (Kind.LINEAR, Kind.LINEAR_TRANSPOSED):
            shape = request.shapes[1]
            value = torch.randint(-_WEIGHT, _WEIGHT, shape, generator=generator) if rank == SERVER else None
            source.hold(request.weight, value, shape)


@dataclasses.dataclass(frozen=True)
class Measured:
    """By party: processor seconds by kind, wall seconds and peak memory; and the bill."""

    seconds: list[dict[str, float]]
    wall: float
    peak: list[int]
    bill: Bill


def measure(task: Task, port: int) -> Measured:
    """Runs both parties."""
    net = {"keys": [KeyPair.generate() for _ in range(2)], "server": f"tcp://127.0.0.1:{port}"}
    results = multiprocessing.get_context("spawn").Queue()
    with running([(_party, (rank, task, net, results)) for rank in (SERVER, CLIENT)]):
        outcomes = {rank: rest for rank, *rest in (results.get(timeout=2 * _TIMEOUT_S) for _ in range(2))}
    server, client = outcomes[SERVER], outcomes[CLIENT]
    return Measured([server[1], client[1]], server[2], [server[3], client[3]], Bill.from_json(server[0]))


def counted(task: Task) -> Bill:
    """The same, without a run."""
    meter = Meter(timed=False)
    SourceCosts(meter).charge(requests_of(task))
    return meter.bill()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", nargs="?", default="block/gpt2/own/two-party/T128", help="a case of blocks")
    parser.add_argument("--port", type=int, default=7410)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    case = parse(options.case)
    task = case.task
    elements: dict[str, int] = defaultdict(int)
    for request in requests_of(task):
        elements[str(request.kind)] += request.elements
    found, expected = measure(task, options.port), counted(task)
    table = Table("kind", "elements", "MB", "server s", "client s")
    rows = {row.label.partition(".")[2]: row for row in found.bill.rows}
    for kind in ["keys", *Kind]:
        if (row := rows.get(str(kind))) is not None:
            sent = (row.offline_bytes_to_server + row.offline_bytes_to_client) / 1e6
            seconds = [f"{party[str(kind)]:.2f}" for party in found.seconds]
            table.add_row(str(kind), f"{elements[str(kind)]:,}", f"{sent:.2f}", *seconds)
    cpu = [sum(seconds for name, seconds in party.items() if name) for party in found.seconds]
    total, same = found.bill.total, _bytes(found.bill) == _bytes(expected)
    sent = (total.offline_bytes_to_server + total.offline_bytes_to_client) / 1e6
    table.add_row("all", "", f"{sent:.2f}", *(f"{seconds:.2f}" for seconds in cpu))
    console = Console()
    console.print(table)
    console.print(
        f"wall {found.wall:.2f} s; peak {found.peak[0] / 1e9:.2f} GB at the server and "
        f"{found.peak[1] / 1e9:.2f} at the client; {'exactly as counted' if same else 'NOT as counted'}"
    )
    if options.record:
        Record(
            case="offline",
            plan="two-party",
            model=f"{options.case}, random weights",
            tokens=case.tokens,
            measured=True,
            bill=found.bill.to_json(),
            seconds=[found.wall],
            network="loopback TCP with CURVE, two processes",
            extra={"processor_seconds": found.seconds, "peak_bytes": found.peak},
        ).append(RECORDS / "offline.jsonl")


def _bytes(bill: Bill) -> dict[str, tuple[int, int]]:
    rows = ((row.label, (row.offline_bytes_to_server, row.offline_bytes_to_client)) for row in bill.rows)
    return {label: sent for label, sent in rows if math.prod(sent) or sum(sent)}


if __name__ == "__main__":
    main()
