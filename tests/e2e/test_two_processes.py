"""Server and client as processes without a dealer: one is killed, or Ctrl-C comes; the other says so."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mpcinfer.models.folder import save_model
from parties.keys import new_keypair
from tests.deadlines import HANG_S
from tests.mpcinfer.test_private_models import GPT2
from tests.mpcinfer.three_parties import random_model

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)
ROLES = ("server", "client")
PHASES: dict[str, dict[str, str]] = {
    "handshake": dict.fromkeys(ROLES, "session.handshake"),
    "base transfers": dict.fromkeys(ROLES, "correlations.keys/base.sender"),
    "linear layers": {
        "server": "correlations.linear/rlwe.answer",
        "client": "correlations.linear/rlwe.query",
    },
    "silent set-up": dict.fromkeys(ROLES, "/ot.trees"),
    "while correlations are made": {"server": "correlations.wrap/ot", "client": "correlations.wrap/ot"},
    "products": dict.fromkeys(ROLES, "correlations.product/ot"),
    "online": dict.fromkeys(ROLES, "/truncate"),
    "between tokens": {"server": "<session.step#2", "client": "session.step#2"},
}
"""Before which frame each victim gets its signal: see `tests.e2e.victim`."""
ENDS = {"SIGKILL": -signal.SIGKILL, "SIGINT": 130}
SHORT = [("base transfers", "server", "SIGKILL"), ("between tokens", "client", "SIGINT")]
CASES = [(phase, role, name) for phase in PHASES for role in ROLES for name in ENDS]


@dataclass
class Place:
    """Where a session takes place.

    Attributes:
        commands: of both roles, without what runs them.
    """

    port: int
    commands: dict[str, list[str]]
    started: dict[str, subprocess.Popen[str]] = field(default_factory=dict[str, subprocess.Popen[str]])

    def start(self, role: str, *module: str) -> None:
        """Starts a role in a process group of its own."""
        command = [sys.executable, "-m", *module, *self.commands[role]]
        self.started[role] = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def ended(self, role: str) -> tuple[int, str]:
        """Waits for a role; its status, and all it said."""
        said, _ = self.started[role].communicate(timeout=HANG_S)
        return self.started[role].returncode, said


@contextmanager
def nobody_left(place: Place) -> Generator[None]:
    """Takes care that processes that were started here end, whatever becomes of a test."""
    try:
        yield
    finally:
        for process in place.started.values():
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "model"
    save_model(folder, random_model(SMALL))
    return folder


@pytest.fixture
def place(model: Path, tmp_path: Path) -> Place:
    for role in ROLES:
        new_keypair(tmp_path, role)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = ["--model", str(model), "--plan", "two-party", "--timeout", str(HANG_S)]
    secret, public = (
        {role: str(tmp_path / f"{role}.{kind}") for role in ROLES} for kind in ("secret", "public")
    )
    endpoint = f"tcp://127.0.0.1:{port}"
    server = ["serve", "--once", "--listen", endpoint, *common]
    server += ["--key", secret["server"], "--client-key", public["client"]]
    client = ["generate", "for i", "--tokens", "2", "--server", endpoint, *common]
    client += ["--key", secret["client"], "--server-key", public["server"]]
    return Place(port, {"server": server, "client": client})


@pytest.mark.parametrize(
    ("phase", "victim", "name"),
    [pytest.param(*case, marks=() if case in SHORT else pytest.mark.long) for case in CASES],
)
def test_who_is_left_says_who_is_gone_and_ends(place: Place, phase: str, victim: str, name: str) -> None:
    (left,) = set(ROLES) - {victim}
    with nobody_left(place):
        for role in ROLES:
            where = (
                ("tests.e2e.victim", name, PHASES[phase][victim])
                if role == victim
                else ("mpcinfer.cli.main",)
            )
            place.start(role, *where)
        status, said = place.ended(victim)
        assert f"{name} at " in said, said
        assert status == ENDS[name], said
        status, said = place.ended(left)
    # By name, and so at once: PeerTimeout would have been much later.
    assert "PeerClosed: the " in said, said
    assert status == 1
    assert "Traceback" not in said
    for process in place.started.values():
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", place.port))
