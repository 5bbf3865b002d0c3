"""Other systems and ours on the same work: same weights, same inputs, the same link, counted at the sockets.

    make peers
    python -m bench.peers --case block --network lan-1g --repeat 3
    python -m bench.peers --case matmul --case relu --system mpcinfer-fss --system crypten
    python -m bench.peers --case block --system spu-cheetah --repeat 1      (minutes, and 10 GB of memory)

A row is a case on a network; all its systems run one after the other, and each leaves a record in
bench/records/peers.jsonl. SPU's cheetah runs where it is asked for. What a peer cannot do is a record too.
Networks are emulated by a relay on this machine, which takes some of its time. `python -m bench.tables` makes
the tables of docs/peers.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console

from bench.peers.drive import Measured, PeerFailed
from bench.peers.systems import BY_DEFAULT, SYSTEMS, System
from bench.peers.tasks import TASKS, Task, task_named
from bench.records import RECORDS, commit
from mpcinfer.benchmark.machine import machine
from mpcinfer.benchmark.network import Network, network_named
from mpcinfer.benchmark.record import BenchRecord
from parties.errors import ConfigError

FILE = "peers.jsonl"


def record_of(system: System, task: Task, network: Network, outcome: Measured | PeerFailed) -> BenchRecord:
    """What is kept of a run, or of why there was none."""
    failed = isinstance(outcome, PeerFailed)
    slow = network.bytes_per_s is not None or network.latency > 0
    known = BenchRecord(
        case=task.name,
        kind=task.kind,
        system=system.name,
        plan=system.plan,
        tokens=task.shape[-2],
        shape=list(task.shape),
        how="emulated" if slow else "loopback",
        network=network.name,
        bandwidth=None if network.bytes_per_s is None else network.bandwidth,
        latency=network.latency,
        trust=system.trust,
        machine=machine(),
        commit=commit(),
        command=shlex.join(["python", "-m", "bench.peers", *sys.argv[1:]]),
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        failed=str(outcome) if failed else "",
    )
    return known if failed else _with_costs(known, system, task, outcome)


def _with_costs(known: BenchRecord, system: System, task: Task, run: Measured) -> BenchRecord:
    error = np.abs(run.output.reshape(task.reference.shape) - system.reference(task))
    bill = {
        "rounds": run.rounds,
        "online_bytes_to_server": run.to_server,
        "online_bytes_to_client": run.to_client,
        "offline_bytes_to_server": run.offline_to_server,
        "offline_bytes_to_client": run.offline_to_client,
    }
    from dataclasses import replace

    return replace(
        known,
        bill=bill,
        seconds=run.seconds,
        offline_seconds=run.offline_seconds,
        dealer_seconds=run.dealer_seconds,
        error={"max": float(error.max()), "mean": float(error.mean())},
        memory=run.memory,
        versions=run.versions,
    )


def line_of(record: BenchRecord) -> str:
    """One line about a run."""
    head = f"{record.case:14} {record.network:9} {record.system:16}"
    if record.failed:
        return f"{head} failed: {record.failed}"
    sent = record.bill["online_bytes_to_server"] + record.bill["online_bytes_to_client"]
    rounds = "?" if record.bill["rounds"] is None else record.bill["rounds"]
    return (
        f"{head} {sent / 1e6:9.3f} MB {rounds:>5} rounds {statistics.median(record.seconds):8.3f} s "
        f"(median of {len(record.seconds)}), largest error {record.error['max']:.2g}"
    )


def run_row(
    task: Task, network: Network, systems: list[System], repeat: int, file: Path, say: Callable[[str], None]
) -> list[BenchRecord]:
    """All systems on a case and a network, one after the other; every record is written as it comes."""
    records: list[BenchRecord] = []
    for system in systems:
        say(f"{task.name} on {network.name}: {system.name} ...")
        try:
            outcome: Measured | PeerFailed = system.run(task, network, repeat)
        except PeerFailed as error:
            outcome = error
        record = record_of(system, task, network, outcome)
        with file.open("a", encoding="utf-8") as out:
            out.write(record.to_line() + "\n")
        say(line_of(record))
        records.append(record)
    return records


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--case", action="append", metavar="CASE", help=f"of {', '.join(TASKS)}; default: all"
    )
    parser.add_argument("--network", action="append", help="default: loopback, lan-1g and wan-400m")
    parser.add_argument(
        "--system", action="append", help=f"of {', '.join(SYSTEMS)}; default: all but cheetah"
    )
    parser.add_argument("--repeat", type=int, default=3, help="measured repetitions; medians are shown")
    parser.add_argument("--out", type=Path, default=RECORDS / FILE, help="file that records are added to")
    options = parser.parse_args()
    try:
        tasks = [task_named(name) for name in options.case or TASKS]
        networks = [network_named(name) for name in options.network or ("loopback", "lan-1g", "wan-400m")]
        unknown = set(options.system or ()) - SYSTEMS.keys()
        if unknown or options.repeat < 1:
            raise ConfigError(
                f"no system {', '.join(unknown)}; there are {', '.join(SYSTEMS)}"
                if unknown
                else "--repeat: at least 1"
            )
    except ConfigError as error:
        parser.error(str(error))
    systems = [SYSTEMS[name] for name in options.system or BY_DEFAULT]
    say = Console(highlight=False, soft_wrap=True).print
    for network in networks:
        for task in tasks:
            say(f"load average {os.getloadavg()[0]:.1f}")
            run_row(task, network, systems, options.repeat, options.out, say)


if __name__ == "__main__":
    main()
