"""A worker's side of what it and its front say to each other (`worker_process.py`)."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import sys
import threading
from typing import Any, TextIO

from parties.errors import MpcInferError


class WorkerSide:
    """The worker's input and output, which nothing else in the process writes to afterwards.

    The end of the input ends the process: its front is gone.
    """

    def __init__(self) -> None:
        self._output: TextIO = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what anything prints is no event
        self._told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="front", daemon=True).start()

    def told(self) -> dict[str, Any]:
        """What the front says next; waits for it."""
        return self._told.get()

    def say(self, event: str, **fields: Any) -> None:
        """Tells the front."""
        self._output.write(json.dumps({"event": event, **fields}) + "\n")

    def failed(self, error: MpcInferError) -> None:
        """Tells the front how a session failed."""
        self.say("failed", error=type(error).__name__, message=str(error))

    def _listen(self) -> None:
        for line in sys.stdin:
            self._told.put(json.loads(line))
        os.kill(os.getpid(), signal.SIGTERM)


def any_port(endpoint: str) -> str:
    """An endpoint at the same host, where a free port is taken."""
    return re.sub(r":[^:\]]*$", ":*", endpoint)


def port_of(endpoint: str) -> int:
    """The port of an endpoint that was bound."""
    return int(endpoint.rpartition(":")[2])
