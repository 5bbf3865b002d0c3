"""A server and a dealer for many, on this machine, with fresh keys of several named clients."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mpcinfer.plans import plan_from
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.suite import DEALER
from parties.errors import PeerTimeout
from parties.keys import KeyPair, load_secret, new_keypair
from parties.launch import Processes

PROGRAM = [sys.executable, "-m", "mpcinfer.cli.main"]
_UP_S = 300.0


@dataclass(frozen=True, slots=True)
class Service:
    """What runs.

    Attributes:
        folder: of keys: `NAME.secret` of every party.
        pids: of the fronts, by name.
        server, dealer: endpoint for clients and public key; no dealer where the plan has none.
        lines: what each front said so far.
    """

    folder: Path
    pids: dict[str, int]
    server: tuple[str, str]
    dealer: tuple[str, str] | None
    lines: dict[str, list[str]]


@contextmanager
def running_service(
    folder: Path,
    *,
    model: str,
    plan: str,
    clients: Sequence[str],
    at_once: int,
    waiting: int,
    timeout_s: float,
    serve: Sequence[str] = (),
) -> Generator[Service]:
    """A service for the length of a block, ended in order afterwards.

    Args:
        folder: for keys; empty.
        clients: their names.
        at_once: sessions that run at once, at the server and at the dealer.
        waiting: sessions that may wait at the server.
        serve: further words for `mpcinfer serve`.

    Raises:
        PeerTimeout: it does not come up.
    """
    for role, names in {"servers": ["server"], "clients": clients, "dealers": ["dealer"]}.items():
        for name in names:
            new_keypair(folder / role, name)
    own = _pair(folder, "servers", "server"), _pair(folder, "dealers", "dealer")
    at, for_server, for_client = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
    bounds = ["--sessions", str(at_once), "--timeout", str(timeout_s)]
    serving = [*PROGRAM, "serve", "--model", model, "--plan", plan, "--listen", at, *bounds, *serve]
    serving += ["--key", str(folder / "servers" / "server.secret"), "--clients", str(folder / "clients")]
    serving += ["--waiting", str(waiting)]
    dealt = DEALER in suite_of(plan_from(plan, [])).helpers
    commands = {"server front": serving}
    if dealt:
        serving += ["--dealer", for_server, "--dealer-key", str(folder / "dealers" / "dealer.public")]
        commands["dealer front"] = [
            *[*PROGRAM, "dealer", "--listen-server", for_server, "--listen-client", for_client, *bounds],
            *["--key", str(folder / "dealers" / "dealer.secret")],
            *["--servers", str(folder / "servers"), "--clients", str(folder / "clients")],
        ]
    lines: dict[str, list[str]] = {name: [] for name in commands}
    with contextlib.ExitStack() as stack:
        fronts = {
            name: stack.enter_context(Processes(on_line=said.append, grace_s=30.0))
            for name, said in lines.items()
        }
        pids = {name: fronts[name].start(name, command) for name, command in commands.items()}
        stack.callback(_ask_to_end, list(pids.values()))
        for front, endpoint in zip(fronts.values(), (at, for_client), strict=False):
            _wait_for(front, endpoint)
        dealer = (for_client, own[1].public) if dealt else None
        yield Service(folder, pids, (at, own[0].public), dealer, lines)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _pair(folder: Path, role: str, name: str) -> KeyPair:
    return load_secret(folder / role / f"{name}.secret")


def _ask_to_end(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _wait_for(front: Processes, endpoint: str) -> None:
    """Until somebody listens there."""
    deadline, pause = time.monotonic() + _UP_S, threading.Event()
    host, port = endpoint.removeprefix("tcp://").split(":")
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1.0):
            return
        if front.any_failed() or time.monotonic() > deadline:
            with front.naming_the_dead():
                raise PeerTimeout(f"nobody listens at {endpoint} after {_UP_S:g} s")
        pause.wait(0.1)
