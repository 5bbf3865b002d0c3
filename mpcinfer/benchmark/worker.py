"""One process of a benchmark: `python -m mpcinfer.benchmark.worker FOLDER ROLE`, as the runner starts it.

It reads `job.json` in the folder and leaves its results there as `ROLE.json`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from mpcinfer.benchmark.links import network_from_json, shaped
from mpcinfer.benchmark.machine import peak_bytes
from mpcinfer.sessions.addresses import Address
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.suite import DEALER
from mpcinfer.suites.task import Place, Task
from parties.channel import Channel
from parties.errors import MpcInferError
from parties.keys import load_public, load_secret
from parties.launch import end_with_parent
from parties.link import Link
from parties.memory import keep_memory
from parties.meter import CLIENT, SERVER, Meter
from parties.tcp import Listener, connect

_MODEL = "model"


def main() -> None:
    """Plays one role."""
    keep_memory()
    end_with_parent()
    folder, role = Path(sys.argv[1]), sys.argv[2]
    job = json.loads((folder / "job.json").read_text())
    try:
        result = _play(folder, role, job)
    except MpcInferError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    partial = folder / f"{role}.partial"
    partial.write_text(json.dumps(result))
    os.replace(partial, folder / f"{role}.json")


def _play(folder: Path, role: str, job: dict[str, Any]) -> dict[str, Any]:
    if role == _MODEL:
        from mpcinfer.benchmark.model_run import measure_model

        return measure_model(job).to_json()
    task = Task.from_json(job["task"])
    suite = suite_of(task.plan)
    suite.require()
    if role == DEALER:
        place = Place(folder=folder, seed=bytes.fromhex(job["seed"]))
        return {"seconds": suite.deal_task(task, place), "peak_bytes": peak_bytes()}
    rank = SERVER if role == "server" else CLIENT
    with Link(_channel(folder, rank, job), Meter(), rank) as link:
        result = suite.run_task(link, task, _place(folder, role, job))
        peak = peak_bytes()
    return {"bill": result.bill.to_json(), "error": result.error, "peak_bytes": peak}


def _channel(folder: Path, rank: int, job: dict[str, Any]) -> Channel:
    """To the other party."""
    own = load_secret(folder / ("server.secret" if rank == SERVER else "client.secret"))
    timeout_s = job["timeout_s"]
    if rank == SERVER:
        peer = load_public(folder / "client.public")
        channel = Listener(job["listen"], own, [peer]).accept(timeout_s, timeout_s)
    else:
        peer = load_public(folder / "server.public")
        channel = connect(job["server"], own, peer, connect_timeout_s=timeout_s, recv_timeout_s=timeout_s)
    return shaped(channel, job["how"], network_from_json(job["network"]))


def _place(folder: Path, role: str, job: dict[str, Any]) -> Place:
    dealer = None
    if job["dealer"] is not None:
        dealer = Address(job["dealer"][role], load_public(folder / "dealer.public"))
    return Place(
        keys=load_secret(folder / f"{role}.secret"),
        dealer=dealer,
        folder=folder,
        seed=bytes.fromhex(job["seed"]),
        timeout_s=job["timeout_s"],
    )


if __name__ == "__main__":
    main()
