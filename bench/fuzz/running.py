"""A server, and a dealer where its plan has one, as processes of their own that are to outlive the attack."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mpcinfer.models.load import load_public
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.processes import free_ports
from mpcinfer.service.process_memory import ProcessMemory
from mpcinfer.suites.registry import get_plan, suite_of
from mpcinfer.suites.suite import DEALER
from parties.errors import PeerTimeout
from parties.keys import KeyPair, new_keypair
from parties.launch import Processes
from protocols.plan import Plan

TIMEOUT_S = 20.0


@dataclass(slots=True, eq=False)
class Running:
    """Processes under attack.

    Attributes:
        server, for_client: endpoints of the server, and of the dealer for clients; empty where there is none.
        keys: by name; `client` is listed, `stranger` nowhere.
        pids: by name.
        lines: all that they said.
    """

    model: str
    plan: Plan
    public: PublicModel
    server: str
    for_client: str
    keys: dict[str, KeyPair]
    processes: Processes
    pids: dict[str, int] = field(default_factory=dict[str, int])
    lines: list[str] = field(default_factory=list[str])
    news: threading.Condition = field(default_factory=threading.Condition)

    def hear(self, line: str) -> None:
        """Takes a line of a process."""
        with self.news:
            self.lines.append(line.rstrip())
            self.news.notify_all()

    def ready(self) -> int:
        """How many of the processes have said that they listen."""
        return sum(event.get("event") == "serving" for event in self.events())

    def endings(self, who: str) -> list[str]:
        """By what each session of a process ended, in order: `over`, or the error's name."""
        said = [event for event in self.events() if event.get("role") == who]
        names = {"session over": lambda event: "over", "session failed": lambda event: str(event["error"])}
        return [names[str(event["event"])](event) for event in said if event.get("event") in names]

    def events(self) -> list[dict[str, object]]:
        """Lines of the log, each an object; others are none of it."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def await_endings(self, who: str, count: int, timeout_s: float) -> bool:
        """Whether so many sessions of a process have ended before the deadline."""
        with self.news:
            return self.news.wait_for(lambda: len(self.endings(who)) >= count, timeout_s)

    def memory(self) -> dict[str, int]:
        """Bytes of each process (Pss)."""
        return {name: ProcessMemory.of(pid).proportional for name, pid in self.pids.items()}

    def alive(self) -> bool:
        """Whether nobody has ended."""
        return all(Path(f"/proc/{pid}/statm").read_text().split()[0] != "0" for pid in self.pids.values())

    def unnamed(self) -> list[str]:
        """Lines that tell of an error without a name: of a traceback."""
        return [
            line for line in self.lines if "Traceback" in line or line.startswith(("  File ", "Exception"))
        ]


@contextmanager
def running(plan_name: str, model: str = "tiny-python") -> Generator[Running]:
    """A server of a model, and its dealer; both end with the block.

    Raises:
        PeerTimeout: they are not ready in time.
    """
    plan, said = get_plan(plan_name), list[str]()
    with_dealer = DEALER in suite_of(plan).helpers
    with tempfile.TemporaryDirectory(prefix="mpcinfer-") as name:
        folder = Path(name)
        keys = {each: new_keypair(folder, each) for each in ("server", "client", "dealer", "stranger")}
        at, for_server, for_client = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
        found: list[Running] = []

        def on_line(line: str) -> None:
            found[0].hear(line) if found else said.append(line)

        with Processes(on_line=on_line, grace_s=2.0) as processes:
            found.append(
                Running(
                    model, plan, load_public(model), at, for_client if with_dealer else "", keys, processes
                )
            )
            here = found[0]
            own = [f"--timeout={TIMEOUT_S}", f"--client-key={folder / 'client.public'}"]
            if with_dealer:
                listen = [f"--listen-server={for_server}", f"--listen-client={for_client}"]
                peers = [f"--key={folder / 'dealer.secret'}", f"--server-key={folder / 'server.public'}"]
                here.pids["dealer"] = processes.start("dealer", _command("dealer", *listen, *peers, *own))
                own = [*own, f"--dealer={for_server}", f"--dealer-key={folder / 'dealer.public'}"]
            serve = [f"--model={model}", f"--plan={plan_name}", f"--listen={at}"]
            serve += [f"--key={folder / 'server.secret'}"]
            here.pids["server"] = processes.start("server", _command("serve", *serve, *own))
            with here.news:
                if not here.news.wait_for(lambda: here.ready() == len(here.pids), 300.0):
                    raise PeerTimeout(f"not ready: {here.lines}")
            time.sleep(0.5)
            yield here


def _command(role: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "mpcinfer.cli.main", role, *options]


def counted(names: list[str]) -> dict[str, int]:
    """How many sessions ended by what."""
    return dict(Counter(names).most_common())
