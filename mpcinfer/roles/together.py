"""All three parties on this machine: server and dealer as processes of their own, the client here."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mpcinfer.models.load import load_public
from mpcinfer.plans import plan_from
from mpcinfer.roles.addresses import Address
from mpcinfer.roles.client import PrivateClient, connect_client
from mpcinfer.roles.engines import engine_of
from mpcinfer.roles.terms import Progress
from parties.keys import new_keypair
from parties.launch import Processes
from protocols.registry import DEFAULT_PLAN

Say = Callable[[str], None]
_START_S = 120.0


@contextmanager
def private(
    model: str,
    *,
    plan: str = DEFAULT_PLAN,
    choices: Sequence[str] = (),
    timeout_s: float = 60.0,
    insecure_dealer: bool = False,
    room: int | None = None,
    say: Say | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    through: Callable[[str], str] | None = None,
) -> Generator[PrivateClient]:
    """A client connected to a server and a dealer that run as processes on this machine.

    Fresh keys are made for the occasion and every connection is encrypted, as between machines. Both
    processes end with the block, however it ends.

    Args:
        model: a name from `mpcinfer models`, or a path. Only the server loads its weights.
        plan, choices: a preset, and `operation=protocol` replacements.
        timeout_s: longest silence of a peer.
        insecure_dealer: the server is its own dealer and could decrypt everything; to measure with.
        room, on_progress: as for `connect_client`.
        say: is told what the processes report.
        through: given an endpoint at which somebody listens, the one at which the others reach it; to
            measure with networks of another kind.

    Raises:
        ConfigError: CrypTen is missing, no such model or plan, or the model cannot be loaded.
        PeerError: a process died or fell silent; the message has its last words.
    """
    public, chosen = load_public(model), plan_from(plan, choices)
    engine_of(chosen).require()  # says what is missing before anything is started
    with tempfile.TemporaryDirectory(prefix="mpcinfer-") as folder, Processes(on_line=say) as processes:
        keys = Path(folder)
        pairs = {name: new_keypair(keys, name) for name in ("server", "client", "dealer")}
        listening = [f"tcp://127.0.0.1:{port}" for port in _free_ports(3)]
        at_server, for_server, for_client = listening
        server, dealer_of_server, dealer = map(through, listening) if through is not None else listening
        if not insecure_dealer:
            listen = ["--listen-server", for_server, "--listen-client", for_client]
            processes.start("dealer", _command("dealer", *listen, *_keys(keys, "dealer", "server", "client")))
        serve = ["--model", model, "--plan", plan, *(f"--set={choice}" for choice in choices)]
        serve += ["--listen", at_server, "--dealer", dealer_of_server, "--timeout", str(timeout_s)]
        serve += ["--insecure-dealer"] if insecure_dealer else []
        processes.start("server", _command("serve", *serve, *_keys(keys, "server", "client", "dealer")))
        with (
            processes.naming_the_dead(),
            connect_client(
                public,
                chosen,
                keys=pairs["client"],
                server=Address(server, pairs["server"].public),
                dealer=None if insecure_dealer else Address(dealer, pairs["dealer"].public),
                room=room,
                timeout_s=max(timeout_s, _START_S),
                on_progress=on_progress,
            ) as client,
        ):
            yield client


def _command(role: str, *options: str) -> list[str]:
    """The command line of a role, for one session."""
    return [sys.executable, "-m", "mpcinfer.cli.main", role, "--once", *options]


def _keys(folder: Path, own: str, *others: str) -> list[str]:
    options = ["--key", str(folder / f"{own}.secret")]
    for other in others:
        options += [f"--{other}-key", str(folder / f"{other}.public")]
    return options


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
