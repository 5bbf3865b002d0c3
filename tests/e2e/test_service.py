"""A server and a dealer for many: sessions at once, limits, a list that changes, and an end in order."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mpcinfer.models.folder import load_public_folder, save_model
from mpcinfer.roles.client import PrivateClient
from mpcinfer.roles.connect import connect_client
from mpcinfer.roles.processes import free_ports
from mpcinfer.sessions.addresses import Address
from mpcinfer.suites.registry import get_plan
from parties.errors import AdmissionRefused, HandshakeFailed, PeerClosed
from parties.keys import KeyPair, new_keypair
from parties.launch import Processes
from tests.deadlines import HANG_S, until
from tests.e2e.test_three_processes import PATIENT, SMALL
from tests.mpcinfer.three_parties import random_model

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@dataclass
class Service:
    """A running server and dealer, and what clients need to reach them."""

    folder: Path
    pairs: dict[str, KeyPair]
    processes: Processes
    lines: list[str]
    pids: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        self.server, self.for_server, self.for_client = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))

    def start(self, name: str, *more: str) -> None:
        folder = self.folder
        own = ["--key", str(folder / f"{name}.secret"), "--clients", str(folder / "clients"), *PATIENT, *more]
        commands = {
            "dealer": [
                *("--servers", str(folder / "servers"), "--sessions", "2"),
                *("--listen-server", self.for_server, "--listen-client", self.for_client),
            ],
            "server": [
                *("--dealer-key", str(folder / "dealer.public"), "--dealer", self.for_server),
                *("--listen", self.server, "--model", str(folder / "model"), "--sessions", "2"),
            ],
        }
        role = {"dealer": "dealer", "server": "serve"}[name]
        command = [sys.executable, "-m", "mpcinfer.cli.main", role, *commands[name], *own]
        self.pids[name] = self.processes.start(name, command)

    def connect(self, name: str, max_context: int = 20) -> AbstractContextManager[PrivateClient]:
        return connect_client(
            load_public_folder(self.folder / "model"),
            get_plan("fss"),
            keys=self.pairs[name],
            server=Address(self.server, self.pairs["server"].public),
            dealer=Address(self.for_client, self.pairs["dealer"].public),
            timeout_s=HANG_S,
            max_context=max_context,
        )

    def asks(self, name: str, prompt: str, tokens: int = 2) -> tuple[list[int], int]:
        """An answer, and rounds of its bill, which the kernel's count confirms."""
        with self.connect(name) as client:
            ids = client.complete(prompt, max_new_tokens=tokens).ids
            bill = client.finish()
        assert any("exactly as billed" in note for note in bill.notes), bill.notes
        return ids, bill.total.rounds


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    folder = tmp_path_factory.mktemp("service")
    save_model(folder / "model", random_model(SMALL))
    pairs = {name: new_keypair(folder, name) for name in ("server", "dealer", "alice", "bob", "carol")}
    for place, names in (("clients", ("alice", "bob", "carol")), ("servers", ("server",))):
        (folder / place).mkdir()
        for name in names:
            (folder / place / f"{name}.public").write_text((folder / f"{name}.public").read_text())
    lines: list[str] = []
    with Processes(on_line=lines.append, grace_s=5.0) as processes:
        service = Service(folder, pairs, processes, lines)
        service.start("dealer")
        service.start("server", "--session-tokens", "12", "--most-context", "20", "--drain", str(HANG_S))
        yield service


def test_clients_are_served_at_once_and_others_wait(service: Service) -> None:
    with service.connect("alice") as first, service.connect("bob") as second:
        one = first.complete("def f(x", max_new_tokens=2).ids
        with ThreadPoolExecutor(1) as pool:
            third = pool.submit(service.asks, "carol", "def f(x")
            assert second.complete("def f(x", max_new_tokens=2).ids == one
            assert not third.done()
            first.finish()
            second.finish()
            assert third.result()[0] == one


def test_a_session_beyond_its_limits_hears_which(service: Service) -> None:
    with pytest.raises(AdmissionRefused, match="at most 12 tokens") as raised:
        service.asks("alice", "a longer one", 8)
    assert (raised.value.reason, raised.value.retry_s) == ("tokens", 0.0)
    with pytest.raises(AdmissionRefused, match="at most 20 tokens") as raised, service.connect("bob", 21):
        pass
    assert (raised.value.reason, raised.value.retry_s) == ("context", None)
    assert service.asks("bob", "x")


def test_who_is_taken_off_the_list_loses_its_session(service: Service) -> None:
    listed = service.folder / "clients" / "carol.public"
    key = listed.read_text()
    with contextlib.suppress(PeerClosed), service.connect("carol") as client:
        client.complete("x", max_new_tokens=1)
        listed.unlink()
        assert until(lambda: _both_said(service, "-carol"))
        assert until(lambda: any("session ended" in line and "carol" in line for line in service.lines))
        with pytest.raises(PeerClosed):
            client.complete("x", max_new_tokens=1)
    with pytest.raises(HandshakeFailed, match="not on its list"), service.connect("carol"):
        pass
    listed.write_text(key)
    assert until(lambda: _both_said(service, "+carol"))
    assert service.asks("carol", "x")


def test_a_service_that_is_told_to_end_lets_sessions_end(service: Service) -> None:
    with service.connect("alice") as client:
        client.complete("x", max_new_tokens=1)
        os.kill(service.pids["server"], signal.SIGTERM)
        assert until(lambda: any('"draining"' in line for line in service.lines))
        with pytest.raises(AdmissionRefused, match="draining"), service.connect("bob"):
            pass
        client.complete("y", max_new_tokens=1)
    assert until(lambda: not Path(f"/proc/{service.pids['server']}/exe").exists() or _zombie(service))


def _both_said(service: Service, change: str) -> bool:
    """Whether server and dealer have read their lists again."""
    return sum(change in line for line in service.lines) == 2


def _zombie(service: Service) -> bool:
    """Whether the server has ended and only its exit status is left."""
    return ") Z " in Path(f"/proc/{service.pids['server']}/stat").read_text()
