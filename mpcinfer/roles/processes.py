"""Server and dealer as processes of their own on this machine: started before anything slow is imported."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mpcinfer.sessions.addresses import Address
from mpcinfer.suites.suite import DEALER
from parties.keys import KeyPair, new_keypair
from parties.launch import Processes
from parties.shaped import Shape

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The other parties, for the client.

    Attributes:
        keys: the client's.
        dealer: None where there is none, or the server deals for itself.
    """

    keys: KeyPair
    server: Address
    dealer: Address | None
    processes: Processes


@contextmanager
def neighbours(
    model: str,
    *,
    plan: str,
    choices: Sequence[str],
    timeout_s: float,
    insecure_dealer: bool,
    helpers: Collection[str],
    say: Say | None,
    through: Callable[[str], str] | None = None,
    check_ranges: bool = False,
    shape: Shape | None = None,
) -> Generator[Neighbours]:
    """A server and a dealer with fresh keys; both end with the block, however it ends.

    Args:
        helpers: roles that the plan's suite needs besides server and client.
        others: as for `mpcinfer.roles.together.private`.
    """
    with tempfile.TemporaryDirectory(prefix="mpcinfer-") as folder, Processes(on_line=say) as processes:
        keys = Path(folder)
        pairs = {name: new_keypair(keys, name) for name in ("server", "client", "dealer")}
        listening = [f"tcp://127.0.0.1:{port}" for port in _free_ports(3)]
        at_server, for_server, for_client = listening
        server, dealer_of_server, dealer = map(through, listening) if through is not None else listening
        with_dealer = DEALER in helpers and not insecure_dealer
        shaped = [] if shape is None else ["--shaped", shape.to_text()]
        if with_dealer:
            listen = ["--listen-server", for_server, "--listen-client", for_client, *shaped]
            processes.start("dealer", _command("dealer", *listen, *_keys(keys, "dealer", "server", "client")))
        serve = ["--model", model, "--plan", plan, *(f"--set={choice}" for choice in choices)]
        serve += ["--listen", at_server, "--dealer", dealer_of_server, "--timeout", str(timeout_s)]
        serve += ["--insecure-dealer"] if insecure_dealer else []
        serve += shaped
        serve += ["--check-ranges"] if check_ranges else []
        processes.start("server", _command("serve", *serve, *_keys(keys, "server", "client", "dealer")))
        yield Neighbours(
            keys=pairs["client"],
            server=Address(server, pairs["server"].public),
            dealer=Address(dealer, pairs["dealer"].public) if with_dealer else None,
            processes=processes,
        )


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
