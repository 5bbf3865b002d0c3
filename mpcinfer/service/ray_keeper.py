"""The part of a worker beyond this machine that runs on its node: an actor that keeps the worker's process.

The process is the one that a front starts without Ray, with the same lines in and out. It ends with the
actor, and that with the front.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Any

from mpcinfer.service.worker_process import WorkerProcess, start_process

_PART = "mpcinfer.service."


class Keeper:
    """Keeps one worker.

    Args:
        module: of `mpcinfer.service`, the worker's.
        terms: what it is told first; it listens at this node's address, whatever they say.
        folder: that relative paths in the terms begin at.
        address: of this node.

    Raises:
        OSError: this node has no such folder.
    """

    def __init__(self, module: str, terms: dict[str, Any], folder: str, address: str) -> None:
        os.chdir(folder)  # this process is the actor's alone
        self._worker = WorkerProcess(
            start_process([sys.executable, "-m", _PART + module]), at_address(terms, address)
        )
        self._started = {"event": "started", "pid": self._worker.pid, "host": address}

    def started(self) -> dict[str, Any]:
        """The process and this node's address."""
        return self._started

    def news(self, wait_s: float) -> tuple[list[dict[str, Any]], int]:
        """What it said since the last call, and its private memory in bytes; waits for something."""
        if self._worker.exit_code is None:
            select.select([self._worker.descriptor], [], [], wait_s)
        return self._worker.events(), self._worker.private_bytes()

    def serve(self, parties: dict[str, str], name: str) -> None:
        """Whom to serve."""
        self._worker.serve(parties, name)

    def end(self, at_once: bool) -> None:
        """Asks the process to end, or ends it."""
        self._worker.end(at_once=at_once)


def at_address(terms: dict[str, Any], address: str) -> dict[str, Any]:
    """Terms of a worker that listens at another address."""
    host = f"[{address}]" if ":" in address else address
    moved = dict[str, Any]()
    for role, fields in terms.items():
        port = str(fields["listen"]).rpartition(":")[2]
        moved[role] = {**fields, "listen": f"tcp://{host}:{port}"}
    return moved
