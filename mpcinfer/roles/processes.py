"""Server and dealer as processes of their own on this machine: started before anything slow is imported."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mpcinfer.public_prefix import PrefixText
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
    public_prefix: PrefixText | None = None,
    prefix: str | None = None,
) -> Generator[Neighbours]:
    """A server, and a dealer where there is one, with fresh keys; both end with the block, however it ends.

    Args:
        helpers: roles that the plan's suite needs besides server and client.
        prefix: features of one that the client has.
        others: as for `mpcinfer.roles.together.private`.
    """
    with tempfile.TemporaryDirectory(prefix="mpcinfer-") as folder, Processes(on_line=say) as processes:
        keys = Path(folder)
        pairs = {name: new_keypair(keys, name) for name in ("server", "client", *helpers)}
        listening = [f"tcp://127.0.0.1:{port}" for port in free_ports(3 if DEALER in helpers else 1)]
        reached = list(map(through, listening)) if through is not None else listening
        with_dealer = DEALER in helpers and not insecure_dealer
        shaped = [] if shape is None else ["--shaped", shape.to_text()]
        if with_dealer:
            listen = ["--listen-server", listening[1], "--listen-client", listening[2], *shaped]
            processes.start("dealer", _command("dealer", *listen, *_keys(keys, "dealer", "server", "client")))
        serve = ["--model", model, "--plan", plan, *(f"--set={choice}" for choice in choices)]
        serve += ["--listen", listening[0], "--timeout", str(timeout_s)]
        serve += ["--dealer", reached[1]] if with_dealer else []
        serve += ["--insecure-dealer"] if insecure_dealer else []
        serve += shaped
        serve += ["--check-ranges"] if check_ranges else []
        serve += [] if public_prefix is None else _prefix(keys, public_prefix)
        serve += [] if prefix is None else ["--prefix", prefix]
        others = ["client", DEALER] if with_dealer else ["client"]
        processes.start("server", _command("serve", *serve, *_keys(keys, "server", *others)))
        yield Neighbours(
            keys=pairs["client"],
            server=Address(reached[0], pairs["server"].public),
            dealer=Address(reached[2], pairs[DEALER].public) if with_dealer else None,
            processes=processes,
        )


def _command(role: str, *options: str) -> list[str]:
    """The command line of a role, for one session, whose lines are shown to people."""
    return [sys.executable, "-m", "mpcinfer.cli.main", role, "--once", "--log", "lines", *options]


def _prefix(folder: Path, given: PrefixText) -> list[str]:
    """A public prefix in a file, which may be longer than a command line."""
    path = folder / "public_prefix.txt"
    path.write_text(given.text, encoding="utf-8", newline="")
    return ["--public-prefix", str(path), *(["--public-prefix-system"] if given.system else [])]


def _keys(folder: Path, own: str, *others: str) -> list[str]:
    options = ["--key", str(folder / f"{own}.secret")]
    for other in others:
        options += [f"--{other}-key", str(folder / f"{other}.public")]
    return options


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
