"""One operation, or blocks, as two parties in processes of their own run it, with the helpers it takes."""

from __future__ import annotations

import dataclasses
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpcinfer.benchmark.emulation import Emulated
from mpcinfer.benchmark.links import network_to_json
from mpcinfer.benchmark.measured import Measured
from mpcinfer.benchmark.network import Network
from mpcinfer.roles.processes import free_ports
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.suite import DEALER
from mpcinfer.suites.task import Task, differences
from parties.bill import Bill
from parties.errors import PeerClosed, PeerTimeout
from parties.keys import new_keypair
from parties.launch import Processes

JOB = "job.json"
ROLES = ("server", "client", "dealer")
TIMEOUT_S = 1800.0
"""For hangs: the longest silence of a peer, and of a process of a benchmark."""
_LOOK_S = 0.02


def run_task(
    task: Task, how: str, network: Network, through: Emulated | None, *, timeout_s: float = TIMEOUT_S
) -> Measured:
    """One repetition.

    Args:
        how, network: as `mpcinfer.benchmark.links` has them.
        timeout_s: longest silence of a peer, and longest wait for each process.

    Raises:
        ConfigError: the suite does not run tasks by themselves.
        PeerError: a process failed or did not come to an end; the message has its last words.
    """
    suite = suite_of(task.plan)
    counted = suite.count_task(task).total
    with tempfile.TemporaryDirectory(prefix="mpcinfer-") as name, Processes() as processes:
        folder = Path(name)
        for role in ROLES:
            new_keypair(folder, role)
        listening = [f"tcp://127.0.0.1:{port}" for port in free_ports(3)]
        reached = [through(each) for each in listening] if through is not None else listening
        live = DEALER in suite.helpers and suite.dealt_while_running
        job = {
            "task": task.to_json(),
            "seed": secrets.token_hex(12),
            "listen": listening[0],
            "server": reached[0],
            "dealer": {"server": reached[1], "client": reached[2]} if live else None,
            "how": how,
            "network": network_to_json(network),
            "timeout_s": timeout_s,
        }
        (folder / JOB).write_text(json.dumps(job))
        dealt: dict[str, Any] = {}
        if live:
            processes.start("dealer", _dealer_command(folder, listening))
        elif DEALER in suite.helpers:
            dealt = _results(folder, processes, [DEALER], timeout_s)[DEALER]
        results = _results(folder, processes, ["server", "client"], timeout_s)
    means = "" if through is None else through.means
    return dataclasses.replace(_measured(task, counted, results, dealt), emulated_by=means)


def worker_command(folder: Path, role: str) -> list[str]:
    """The command line of a process of a benchmark."""
    return [sys.executable, "-m", "mpcinfer.benchmark.worker", str(folder), role]


def _dealer_command(folder: Path, listening: list[str]) -> list[str]:
    """The dealer as users start it, for one session."""
    command = [sys.executable, "-m", "mpcinfer.cli.main", "dealer", "--once", "--log", "lines"]
    command += ["--listen-server", listening[1], "--listen-client", listening[2]]
    for option, name in (("--key", "dealer.secret"), ("--server-key", "server.public")):
        command += [option, str(folder / name)]
    return [*command, "--client-key", str(folder / "client.public")]


def _results(
    folder: Path, processes: Processes, roles: list[str], timeout_s: float
) -> dict[str, dict[str, Any]]:
    """Starts processes, waits for them, and reads what each leaves."""
    with processes.naming_the_dead():
        for role in roles:
            processes.start(role, worker_command(folder, role))
        wait_for([folder / f"{role}.json" for role in roles], processes, timeout_s)
    return {role: json.loads((folder / f"{role}.json").read_text()) for role in roles}


def wait_for(files: list[Path], processes: Processes, timeout_s: float) -> None:
    """Waits until processes have left their results.

    Raises:
        PeerClosed: one of the processes has failed.
        PeerTimeout: it took longer.
    """
    deadline = time.monotonic() + timeout_s
    while not all(file.exists() for file in files):
        if processes.any_failed():
            raise PeerClosed("a process of the benchmark failed")
        if time.monotonic() > deadline:
            raise PeerTimeout(f"a process of the benchmark said nothing for {timeout_s:g} s")
        time.sleep(_LOOK_S)


def _measured(
    task: Task, counted: Any, results: Mapping[str, dict[str, Any]], dealt: Mapping[str, Any]
) -> Measured:
    """From what the processes left."""
    client = results["client"]
    whole = Bill.from_json(client["bill"])
    bill = task.measured(whole)
    setup = [row.seconds or 0.0 for row in whole.rows if row.setup_bytes or row.label.startswith("setup")]
    memory = {role: result["peak_bytes"] for role, result in results.items()}
    if dealt:
        memory[DEALER] = dealt["peak_bytes"]
    offline = [row.offline_seconds for row in bill.rows if row.offline_seconds is not None]
    return Measured(
        bill=bill,
        seconds=bill.total.seconds or 0.0,
        offline_seconds=sum(offline) if offline else None,
        dealer_seconds=dealt.get("seconds"),
        setup_seconds=sum(setup) if setup else None,
        error=client["error"],
        memory=memory,
        off=differences(bill.total, counted),
    )
