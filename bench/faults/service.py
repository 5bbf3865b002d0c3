"""A server's and a dealer's front with their workers, as an operator runs them, and what is seen of them."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from bench.faults import ledger, leftovers
from bench.faults.outcome import NotSurvived
from mpcinfer.service.forking import WORKER
from parties.keys import new_keypair

MARKER = "MPCINFER_FAULTS"
BOUND_S = 300.0
"""Whatever has to end must have ended by then: far beyond every deadline of the service and any load."""
_LOOK_S = 0.05
_LOOKS = 6
_END_S = 120.0
_FIRST_PORT, _PORTS = 20_000, 10_000  # below those that the kernel gives to whoever asks for any
_WORKERS = {"server": "serving_worker", "dealer": "dealing_worker"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a service is run.

    Attributes:
        plan: of its sessions; two-party has no dealer.
        host: where fronts listen.
        sessions: workers of each front.
        timeout_s: longest silence of a peer, for the service.
        server_options: further ones.
        store: a folder for the dealer's correlations; None for a dealer that keeps none.
        environment: variables of the service's processes.
    """

    plan: str = "fss"
    host: str = "127.0.0.1"
    sessions: int = 2
    timeout_s: float = 60.0
    server_options: tuple[str, ...] = ()
    store: Path | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def roles(self) -> tuple[str, ...]:
        """Of the fronts."""
        return ("server",) if self.plan == "two-party" else ("dealer", "server")


class Service:
    """Fronts that run from `start` until `close`.

    Args:
        folder: for keys, logs and what processes write for a while.
    """

    def __init__(self, folder: Path, setting: Setting) -> None:
        self.folder, self.setting = folder, setting
        self.mark = f"{MARKER}={secrets.token_hex(8)}"
        for name in ("temporary", "runtime", "said", "clients", "servers"):
            (folder / name).mkdir(parents=True, mode=0o700)
        for party, its in (("server", "servers"), ("client", "clients"), ("dealer", "")):
            new_keypair(folder, party)
            if its:
                public = folder / f"{party}.public"
                (folder / its / public.name).write_bytes(public.read_bytes())
        self.ports = dict(zip(("server", "for_servers", "for_clients", "proxy"), _free_ports(4), strict=True))
        self.fronts: dict[str, subprocess.Popen[bytes]] = {}
        self._files = leftovers.files(*self._watched)

    @property
    def environment(self) -> dict[str, str]:
        """Of every process here."""
        name, _, value = self.mark.partition("=")
        own = {
            name: value,
            "TMPDIR": str(self.folder / "temporary"),
            "XDG_RUNTIME_DIR": str(self.folder / "runtime"),
            "COLUMNS": "200",
            "NO_COLOR": "1",
        }
        return {**os.environ, **own}

    def log(self, role: str) -> Path:
        """What a front and its workers said."""
        return self.folder / "said" / f"{role}.log"

    def start(self, role: str) -> None:
        """Starts a front."""
        with self.log(role).open("ab") as log:
            self.fronts[role] = subprocess.Popen(
                [sys.executable, "-m", "mpcinfer", *self._words(role)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.environment, **self.setting.environment},
                start_new_session=True,
            )

    def start_all(self) -> None:
        """Starts every front that the plan needs."""
        for role in self.setting.roles:
            self.start(role)

    def kill(self, role: str) -> None:
        """kill -9 of a front; its workers must end with it."""
        front = self.fronts.pop(role)
        workers = self.workers(role, front.pid)
        front.kill()
        front.wait()
        until(f"workers of the {role}'s front to end", lambda: not any(map(leftovers.command_line, workers)))

    def workers(self, role: str, front: int | None = None) -> list[int]:
        """Processes that a front started."""
        parent = self.fronts[role].pid if front is None else front
        return [
            pid
            for pid in leftovers.children(parent)
            if leftovers.name(pid) == WORKER and _WORKERS[role] in leftovers.command_line(pid)
        ]

    def fork_server(self, role: str) -> int:
        """What a front's workers are forked from; 0 where none is there."""
        return next(
            (
                pid
                for pid in leftovers.children(self.fronts[role].pid)
                if leftovers.name(pid) != WORKER and "fork_server" in leftovers.command_line(pid)
            ),
            0,
        )

    def busy(self, role: str) -> list[int]:
        """Workers that have a session or await one: they have sockets, others have none."""
        return [
            pid
            for pid in self.workers(role)
            if leftovers.ports(pid, leftovers.LISTENING) or leftovers.ports(pid, leftovers.CONNECTED)
        ]

    def await_workers(self) -> None:
        """Waits until every front has all its workers, and none is starting: all their threads sleep."""

        def ready() -> bool:
            pids = [pid for role in self.fronts for pid in self.workers(role)]
            enough = len(pids) == self.setting.sessions * len(self.fronts)
            return enough and all(leftovers.asleep(pid) for pid in pids)

        def still_ready() -> bool:
            return all(ready() and not time.sleep(_LOOK_S) for _ in range(_LOOKS))

        until("workers to be ready", still_ready)

    def client_words(self, timeout_s: float = 60.0, host: str | None = None) -> list[str]:
        """`mpcinfer generate` for this service."""
        return ["generate", "for", "--tokens", "4", "--json", *self.where_words(timeout_s, host)]

    def where_words(self, timeout_s: float, host: str | None = None) -> list[str]:
        """Options of a client that say where the service is."""
        at = host or self.setting.host
        words = ["--plan", self.setting.plan, "--timeout", f"{timeout_s:g}"]
        words += ["--key", str(self.folder / "client.secret")]
        words += ["--server", f"tcp://{at}:{self.ports['server']}"]
        words += ["--server-key", str(self.folder / "server.public")]
        if "dealer" in self.setting.roles:
            words += ["--dealer", f"tcp://{self.setting.host}:{self.ports['for_clients']}"]
            words += ["--dealer-key", str(self.folder / "dealer.public")]
        return words

    def require_settled(self) -> None:
        """No session runs, and there is nothing that no session needs.

        Raises:
            NotSurvived: something is left over.
        """
        for role, front in self.fronts.items():
            if front.poll() is not None:
                raise NotSurvived(f"the {role}'s front ended with status {front.returncode}")
        until("workers' sessions to end", lambda: not any(map(self.busy, self.fronts)))
        until_none("orphans to end", self._orphans)
        until_none("files to go", self._new_files)
        for role in self.fronts:
            if "Traceback" in self.log(role).read_text(errors="replace"):
                raise NotSurvived(f"a traceback in the log of the {role}: {self.log(role)}")
        store = self.setting.store
        if store is not None:
            if twice := ledger.used_twice(store):
                raise NotSurvived(f"{len(twice)} bundles were used twice")
            until_none("bundles that are taken to end", lambda: ledger.unended(store))

    def close(self) -> None:
        """Ends the fronts as an operator does, and looks whether anything stayed.

        Raises:
            NotSurvived: something is left over.
        """
        for front in self.fronts.values():
            front.send_signal(signal.SIGTERM)
        for role, front in self.fronts.items():
            try:
                front.wait(_END_S)
            except subprocess.TimeoutExpired:
                raise NotSurvived(f"the {role}'s front did not end within {_END_S:g} s") from None
        self.fronts.clear()
        until_none("all processes to end", lambda: leftovers.marked(self.mark))
        until_none("ports to be free", lambda: leftovers.listened_at(self.ports.values()))
        until_none("files to go", self._new_files)

    def end_all(self) -> None:
        """Ends whatever is still there, whatever happened."""
        for front in self.fronts.values():
            front.kill()
            front.wait()
        for pid in leftovers.marked(self.mark):
            os.kill(pid, signal.SIGKILL)

    @property
    def _watched(self) -> tuple[Path, Path]:
        return self.folder / "temporary", self.folder / "runtime"

    def _new_files(self) -> set[Path]:
        """Files that were not there at the start; what a living front says of itself for `mpcinfer status`
        is none of them."""
        found = leftovers.files(*self._watched) - self._files
        return {path for path in found if not path.name.startswith(tuple(f"{role}-" for role in self.fronts))}

    def _orphans(self) -> list[int]:
        """Workers whose front is none of the living, and the dead that their front has not noticed."""
        known = {front.pid for front in self.fronts.values()}
        theirs = {pid: state for front in known for pid, state in leftovers.children(front).items()}
        lost = [
            pid
            for pid, line in leftovers.marked(self.mark).items()
            if "_worker" in line and pid not in theirs
        ]
        return lost + [pid for pid, state in theirs.items() if state == "Z"]

    def _words(self, role: str) -> list[str]:
        setting, folder = self.setting, self.folder
        words = ["--key", str(folder / f"{role}.secret"), "--clients", str(folder / "clients")]
        words += ["--sessions", str(setting.sessions), "--timeout", f"{setting.timeout_s:g}"]
        if role == "server":
            words += ["--model", "tiny-python", "--plan", setting.plan, *setting.server_options]
            words += ["--listen", f"tcp://{setting.host}:{self.ports['server']}"]
            if "dealer" in setting.roles:
                words += ["--dealer", f"tcp://{setting.host}:{self.ports['for_servers']}"]
                words += ["--dealer-key", str(folder / "dealer.public")]
            return ["serve", *words]
        words += ["--servers", str(folder / "servers")]
        words += ["--listen-server", f"tcp://{setting.host}:{self.ports['for_servers']}"]
        words += ["--listen-client", f"tcp://{setting.host}:{self.ports['for_clients']}"]
        return ["dealer", *words, *([] if setting.store is None else ledger.store_options(setting.store))]


def until(what: str, happened: Callable[[], bool], left: Callable[[], object] | None = None) -> None:
    """Waits for something that must happen; raises NotSurvived where it does not within `BOUND_S`, and says
    what is left."""
    deadline = time.monotonic() + BOUND_S
    while not happened():
        if time.monotonic() > deadline:
            raise NotSurvived(f"waited {BOUND_S:g} s for {what}{'' if left is None else f': {left()}'}")
        time.sleep(_LOOK_S)


def until_none(what: str, left: Callable[[], Collection[object]]) -> None:
    """`until` nothing is left."""
    until(what, lambda: not left(), left)


@lru_cache(maxsize=1)
def has_store() -> bool:
    """Whether dealers here can keep a store."""
    shown = subprocess.run(
        [sys.executable, "-m", "mpcinfer", "dealer", "--help"], capture_output=True, text=True, check=True
    )
    return "--store" in shown.stdout


def _free_ports(count: int) -> list[int]:
    """Ports at which nobody listens now."""
    found: list[int] = []
    while len(found) < count:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with closing(socket.socket()) as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found
