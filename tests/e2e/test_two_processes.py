"""Server and client as processes without a dealer: one is killed, or Ctrl-C comes, and the other says so."""

from __future__ import annotations

import dataclasses
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mpcinfer.models.folder import load_public_folder, save_model
from mpcinfer.roles.client import connect_client
from mpcinfer.sessions.addresses import Address
from mpcinfer.suites.registry import get_plan
from parties.errors import PeerClosed
from parties.keys import KeyPair, new_keypair
from parties.launch import Processes
from tests.deadlines import HANG_S, until
from tests.mpcinfer.test_private_models import GPT2
from tests.mpcinfer.three_parties import random_model

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PLAN = "two-party"
SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)
PHASES = {
    "set-up": "correlations.keys/",
    "while correlations are made": "correlations.wrap/",
    "online": "/truncate",
}
SIGNALS = ["SIGKILL", "SIGINT"]


def cases(short: tuple[str, str]) -> list[object]:
    """All phases and signals; one of them is for `make test`, too."""
    return [
        pytest.param(phase, name, marks=() if (phase, name) == short else pytest.mark.long)
        for phase in PHASES
        for name in SIGNALS
    ]


@dataclass
class Place:
    """Where a session takes place.

    Attributes:
        server, client: commands, without what runs them.
    """

    model: Path
    endpoint: str
    pairs: dict[str, KeyPair]
    server: list[str]
    client: list[str]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    save_model(tmp_path / "model", random_model(SMALL))
    pairs = {name: new_keypair(tmp_path, name) for name in ("server", "client")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    common = ["--model", str(tmp_path / "model"), "--plan", PLAN, "--timeout", str(HANG_S)]
    secret, public = (
        {name: str(tmp_path / f"{name}.{kind}") for name in pairs} for kind in ("secret", "public")
    )
    server = ["serve", "--once", "--listen", endpoint, *common]
    server += ["--key", secret["server"], "--client-key", public["client"]]
    client = ["generate", "x", "--tokens", "1", "--server", endpoint, *common]
    client += ["--key", secret["client"], "--server-key", public["server"]]
    return Place(tmp_path / "model", endpoint, pairs, server, client)


def victim(phase: str, name: str, command: list[str]) -> list[str]:
    return [sys.executable, "-m", "tests.e2e.victim", name, PHASES[phase], *command]


def met(lines: list[str], phase: str, name: str) -> bool:
    """Whether the signal came where it was meant to."""
    return any(f"{name} at " in line and PHASES[phase] in line for line in lines)


@pytest.mark.parametrize(("phase", "name"), cases(("while correlations are made", "SIGKILL")))
def test_a_client_names_a_server_that_is_gone(place: Place, phase: str, name: str) -> None:
    lines = list[str]()
    with Processes(on_line=lines.append) as processes:
        processes.start("server", victim(phase, name, place.server))
        with (
            pytest.raises(PeerClosed),  # and not PeerTimeout, much later
            connect_client(
                load_public_folder(place.model),
                get_plan(PLAN),
                keys=place.pairs["client"],
                server=Address(place.endpoint, place.pairs["server"].public),
                dealer=None,
                timeout_s=HANG_S,
            ) as client,
        ):
            client.complete("x", max_new_tokens=1)
    assert met(lines, phase, name), lines


@pytest.mark.parametrize(("phase", "name"), cases(("online", "SIGINT")))
def test_a_server_names_a_client_that_is_gone(place: Place, phase: str, name: str) -> None:
    lines = list[str]()
    with Processes(on_line=lines.append) as processes:
        processes.start("server", [sys.executable, "-m", "mpcinfer.cli.main", *place.server])
        processes.start("client", victim(phase, name, place.client))
        assert until(lambda: any(line.startswith("PeerClosed: the ") for line in lines)), lines
    assert met(lines, phase, name), lines
