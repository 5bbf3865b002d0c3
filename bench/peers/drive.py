"""Runs a peer as two processes in its own environment, and says what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.peers.network import HOST, free_port, linked
from bench.peers.tasks import Task
from mpcinfer.benchmark.network import Network
from parties.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENTS = ROOT / "build" / "peers"
LINES_OF_ERROR = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a system on a case.

    Attributes:
        seconds: of each repetition, online, the slower party's.
        to_server, to_client: bytes that each received in a repetition, at its sockets.
        rounds: dependent messages; None where nobody counted them.
        output: the client's.
        offline_to_server, offline_to_client: bytes before the input was known, by receiver.
        offline_seconds, dealer_seconds: where preprocessing is apart.
        memory: largest resident bytes by role.
    """

    seconds: list[float]
    to_server: int
    to_client: int
    rounds: int | None
    output: NDArray[Any]
    offline_to_server: int = 0
    offline_to_client: int = 0
    offline_seconds: list[float] = field(default_factory=list[float])
    dealer_seconds: list[float] = field(default_factory=list[float])
    memory: dict[str, int] = field(default_factory=dict[str, int])
    versions: dict[str, str] = field(default_factory=dict[str, str])


class PeerFailed(Exception):
    """A peer could not be run, or ended with an error; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A system in an environment of its own.

    Attributes:
        system: its name in records.
        environment: folder below build/peers.
        module: of `bench.peers.inside`.
        options: of its job.
    """

    system: str
    environment: str
    module: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    def run(self, task: Task, network: Network, repeat: int, *, warm_ups: int, limit_s: float) -> Measured:
        """Measures a case.

        Raises:
            PeerFailed: it is not installed, ended with an error, or took longer than `limit_s`.
        """
        python = ENVIRONMENTS / self.environment / "bin" / "python"
        if not python.exists():
            raise PeerFailed(f"not installed: run `make peers` ({self.environment})")
        with tempfile.TemporaryDirectory(prefix="mpcinfer-peer-") as name, linked(network) as through:
            folder = Path(name)
            listen = [free_port(), free_port()]
            with socket.create_server((HOST, 0)) as control:
                job = {
                    "case": task.name,
                    "system": self.system,
                    "repeat": repeat,
                    "warm_ups": warm_ups,
                    "control": control.getsockname()[1],
                    "listen": listen,
                    "reach": [through(port) for port in listen],
                    "shape": list(task.shape),
                    "output_shape": list(task.reference.shape),
                    "weight_shapes": {name: list(w.shape) for name, w in task.inputs.weights.items()},
                    **self.options,
                }
                _write(folder, task, job)
                self._both(python, folder, control, through, limit_s)
            return _read(folder)

    def _both(
        self,
        python: Path,
        folder: Path,
        control: socket.socket,
        through: Callable[[int], int],
        limit_s: float,
    ) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        command = [str(python), "-m", f"bench.peers.inside.{self.module}"]
        with contextlib.ExitStack() as stack:
            processes: list[subprocess.Popen[bytes]] = []
            for rank in (0, 1):
                log = stack.enter_context((folder / f"log-{rank}").open("wb"))
                process = subprocess.Popen(
                    [*command, str(rank), str(folder)], cwd=ROOT, env=environment, stdout=log, stderr=log
                )
                stack.callback(_end, process)
                processes.append(process)
            _Control(control, through, processes, folder, time.monotonic() + limit_s).serve()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


class _Control:
    """Answers what both parties ask: to wait for each other, and for relays."""

    def __init__(
        self,
        listener: socket.socket,
        through: Callable[[int], int],
        processes: list[subprocess.Popen[bytes]],
        folder: Path,
        deadline: float,
    ) -> None:
        self._listener, self._through, self._processes = listener, through, processes
        self._folder, self._deadline = folder, deadline
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._waiting: list[socket.socket] = []

    def serve(self) -> None:
        """Until both processes have ended well.

        Raises:
            PeerFailed: one has not, or it took too long.
        """
        with self._selector:
            while any(process.poll() is None for process in self._processes):
                self._check()
                for key, _ in self._selector.select(0.1):
                    self._answer(key.fileobj)
            self._check()

    def _answer(self, ready: Any) -> None:
        if ready is self._listener:
            connection, _ = self._listener.accept()
            self._selector.register(connection, selectors.EVENT_READ)
            return
        question = ready.recv(64).decode().split()
        if not question:
            self._selector.unregister(ready)
            ready.close()
        elif question[0] == "relay":
            ready.sendall(b"%d\n" % self._through(int(question[1])))
        else:
            self._waiting.append(ready)
            if len(self._waiting) == len(self._processes):
                for each in self._waiting:
                    each.sendall(b"go\n")
                self._waiting.clear()

    def _check(self) -> None:
        for rank, process in enumerate(self._processes):
            if process.poll():
                raise PeerFailed(
                    f"party {rank} ended with {process.returncode}: {_last_lines(self._folder, rank)}"
                )
        if time.monotonic() > self._deadline:
            raise PeerFailed("took longer than it was given")


def _last_lines(folder: Path, rank: int) -> str:
    lines = (folder / f"log-{rank}").read_text("utf-8", errors="replace").splitlines()
    return " / ".join(lines[-LINES_OF_ERROR:])


def _write(folder: Path, task: Task, job: dict[str, Any]) -> None:
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    np.save(folder / "x.npy", task.inputs.x)
    np.savez(folder / "weights.npz", **task.inputs.weights)  # pyright: ignore[reportArgumentType]


def _read(folder: Path) -> Measured:
    results = [json.loads((folder / f"result-{rank}.json").read_text("utf-8")) for rank in (0, 1)]
    server, client = results
    if len(set(server["received"])) > 1 and max(server["received"]) > 1.05 * min(server["received"]):
        raise ConfigError(f"bytes differ from one repetition to the next: {server['received']}")
    return Measured(
        seconds=[max(pair) for pair in zip(server["seconds"], client["seconds"], strict=True)],
        to_server=max(server["received"]),
        to_client=max(client["received"]),
        rounds=client["rounds"],
        output=np.load(folder / "y.npy"),
        memory={"server": server["memory"], "client": client["memory"]},
        versions=client["versions"],
    )
