"""Opens many sessions at once at a running service, and collects what came of each."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.load.asking import Asked, Job
from bench.load.memory import MemoryWatch, Peaks, core_seconds
from bench.load.service import Service, running_service

_ASK = [sys.executable, "-m", "bench.load.asking"]
_ENDS = ("def", "return", "import os\n", "class Node:\n    def", "for line in lines:\n    ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked for.

    Attributes:
        sessions: in all, opened at once.
        clients: named clients that share them.
        at_once: sessions that the service runs at once.
        tokens: new ones of every answer.
        timeout_s: longest silence of a peer.
        patience_s: longest wait in a queue.
        serve: further words for `mpcinfer serve`.
    """

    sessions: int
    clients: int
    at_once: int
    model: str
    plan: str
    tokens: int
    timeout_s: float = 600.0
    patience_s: float = 3600.0
    serve: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Of the clients."""
        return [f"client-{number}" for number in range(self.clients)]

    @property
    def prompts(self) -> dict[int, str]:
        """One a session, all different."""
        return {
            number: f"x{number} = {number * 37 % 101}\n{_ENDS[number % len(_ENDS)]}"
            for number in range(self.sessions)
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        asked: every session.
        peaks: memory of the service.
        lines: what the server's front said.
        seconds: from the first request to the last confirmed bill.
        core_s: seconds of a core that the server, the dealer and the clients took meanwhile, ends of workers
            and starts of others included.
    """

    asked: list[Asked]
    peaks: Peaks
    lines: list[str]
    seconds: float
    core_s: dict[str, float]


def run(load: Load, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Starts a service and asks for all sessions at once.

    Args:
        folder: for keys; empty.

    Raises:
        PeerTimeout: the service or a client does not come up.
    """
    with running_service(
        folder,
        model=load.model,
        plan=load.plan,
        clients=load.names,
        at_once=load.at_once,
        waiting=load.sessions,
        timeout_s=load.timeout_s,
        serve=load.serve,
    ) as service:
        say(f"the service is up; {load.clients} clients get ready")
        clients = [_Asking(job) for job in jobs(load, service)]
        try:
            for client in clients:
                client.await_ready()
            say(f"{load.sessions} sessions are asked for at once")
            before = {name: core_seconds(pid) for name, pid in service.pids.items()}
            with MemoryWatch(service.pids) as watch:
                for client in clients:
                    client.go()
                _follow(clients, load.sessions, say)
            core_s = {name: core_seconds(pid) - before[name] for name, pid in service.pids.items()}
            core_s["clients"] = sum(client.core_s for client in clients)
        finally:
            for client in clients:
                client.close()
        asked = sorted((each for client in clients for each in client.asked), key=lambda each: each.number)
    began, over = min(each.asked_s for each in asked), max(each.over_s for each in asked)
    return Outcome(asked, watch.peaks, service.lines["server front"], over - began, core_s)


def jobs(load: Load, service: Service) -> list[Job]:
    """One a client; sessions are dealt out in turn."""
    return [
        Job(
            client=name,
            key=str(service.folder / "clients" / f"{name}.secret"),
            server=service.server,
            dealer=service.dealer,
            model=load.model,
            plan=load.plan,
            tokens=load.tokens,
            prompts={
                str(number): prompt
                for number, prompt in load.prompts.items()
                if number % load.clients == index
            },
            timeout_s=load.timeout_s,
            patience_s=load.patience_s,
        )
        for index, name in enumerate(load.names)
    ]


def most_at_once(asked: Sequence[Asked]) -> int:
    """Sessions that were open at one moment, by what their clients saw: from the session's opening to its
    confirmed bill."""
    steps = [(each.opened_s, 1) for each in asked if each.opened_s]
    steps += [(each.over_s, -1) for each in asked if each.opened_s]
    most = now = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


class _Asking:
    """A client's process."""

    def __init__(self, job: Job) -> None:
        self._process = subprocess.Popen(_ASK, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ready = threading.Event()
        self.asked: list[Asked] = []
        self.core_s = 0.0
        self.over = threading.Event()
        self._tell(json.dumps(asdict(job)))
        threading.Thread(target=self._read, daemon=True).start()

    def await_ready(self) -> None:
        """Until it has imported what it needs."""
        self._ready.wait()

    def go(self) -> None:
        """It may ask."""
        self._tell("go")

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            document: dict[str, Any] = json.loads(line)
            if "ready" in document:
                self._ready.set()
            elif "core_s" in document:
                self.core_s = document["core_s"]
            else:
                self.asked.append(Asked(**document["session"]))
        self._ready.set()
        self.over.set()


def _follow(clients: Sequence[_Asking], sessions: int, say: Callable[[str], None]) -> None:
    """Waits until all clients have ended, and says how far they are now and then."""
    told, began = 0, time.monotonic()
    while not all(client.over.wait(1.0) for client in clients):
        done = sum(len(client.asked) for client in clients)
        if done - told >= max(1, sessions // 10):
            told = done
            say(f"{done} of {sessions} sessions after {time.monotonic() - began:.0f} s")
