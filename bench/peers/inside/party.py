"""One party of a peer: reads its job, runs, times and counts it, and writes what came of it."""

from __future__ import annotations

import json
import resource
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.peers.inside.sockets import between, received

SERVER, CLIENT = 0, 1
HOST = "127.0.0.1"
T = TypeVar("T")


class Party:
    """What every peer's script needs of its surroundings.

    Attributes:
        rank: 0 is the server with the weights, 1 the client with the input.
        job: `case`, `system`, `repeat`, `warm_ups`, `control` (a port), `listen` and `reach` (ports a rank).
    """

    def __init__(self) -> None:
        self.rank, self._folder = int(sys.argv[1]), Path(sys.argv[2])
        self.job: dict[str, Any] = json.loads((self._folder / "job.json").read_text("utf-8"))
        self._control = socket.create_connection((HOST, self.job["control"]))
        self._without = {self.job["control"], *self.job.get("uncounted", ())}
        self.seconds: list[float] = []
        self.received: list[int] = []

    @property
    def case(self) -> str:
        return self.job["case"]

    def input(self) -> NDArray[np.float32] | None:
        """The client's input; None at the server."""
        return np.load(self._folder / "x.npy") if self.rank == CLIENT else None

    def weights(self) -> dict[str, NDArray[np.float32]] | None:
        """The server's weights; None at the client."""
        if self.rank != SERVER:
            return None
        with np.load(self._folder / "weights.npz") as file:
            return {name: file[name] for name in file.files}

    def barrier(self) -> None:
        """Waits for the other party, over a connection that is not counted."""
        self._ask(b"barrier\n")

    def relayed(self, port: int) -> int:
        """The port at which a port of this machine is reached over the network under test."""
        return int(self._ask(b"relay %d\n" % port))

    def _ask(self, question: bytes) -> bytes:
        self._control.sendall(question)
        answer = b""
        while not answer.endswith(b"\n"):
            got = self._control.recv(64)
            if not got:
                raise ConnectionError("the driver went away")
            answer += got
        return answer

    def measure(self, run: Callable[[], T], between_runs: Callable[[], None] = lambda: None) -> T:
        """Runs as often as the job says; keeps seconds and received bytes of all but the warm-ups."""
        for i in range(self.job["warm_ups"] + self.job["repeat"]):
            between_runs()
            self.barrier()
            before = received(without=self._without)
            self.barrier()
            started = time.perf_counter()
            result = run()
            seconds = time.perf_counter() - started
            self.barrier()
            counted = between(before, received(without=self._without))
            self.barrier()
            if i >= self.job["warm_ups"]:
                self.seconds.append(seconds)
                self.received.append(counted)
        return result

    def finish(self, output: NDArray[Any] | None, *, rounds: int | None, versions: dict[str, str]) -> None:
        """Writes what came of it; `output` is the client's."""
        if output is not None:
            np.save(self._folder / "y.npy", output)
        document = {
            "seconds": self.seconds,
            "received": self.received,
            "rounds": rounds,
            "memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "versions": versions,
        }
        (self._folder / f"result-{self.rank}.json").write_text(json.dumps(document), "utf-8")
        self.barrier()
