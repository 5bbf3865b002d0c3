"""A whole private session, everything logged, counted and told: no secret of any party is in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mpcinfer.models.load import load_public
from mpcinfer.roles.processes import free_ports
from mpcinfer.service.logs import LogKind, LogLevel, configure, logger, silence
from parties.keys import KeyPair, load_secret, new_keypair, z85_decode
from parties.launch import Processes
from tests.deadlines import HANG_S, until
from tests.e2e.searched import found, is_telling, written

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PROGRAM = [sys.executable, "-m", "mpcinfer.cli.main"]
RECORDED = [sys.executable, str(Path(__file__).with_name("recorded.py"))]
PROMPT = "def zebra_quilt_vortex(marmalade"
ROLES = ("server", "dealer", "client")


@dataclass(frozen=True)
class Told:
    """What a session told anybody, and what it must not have told.

    Attributes:
        texts: logs, output of processes, counters and statuses, by name.
        planted: the line that was logged to be found.
        values: seeds, masks and shares as processes had them.
    """

    texts: dict[str, str]
    planted: str
    values: list[bytes]
    keys: dict[str, KeyPair]
    answer: str


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("told")
    for name in ROLES:
        new_keypair(folder, name)
    listen, for_server, for_client = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
    metrics = [f"127.0.0.1:{port}" for port in free_ports(2)]
    lines: list[str] = []

    def options(own: str, *others: str) -> list[str]:
        keys = [f"--key={folder / own}.secret", *(f"--{name}-key={folder / name}.public" for name in others)]
        return [*keys, f"--timeout={HANG_S}"]

    def watched(name: str, at: str) -> list[str]:
        log = ["--log=json", "--log-level=debug", f"--log-file={folder / name}.log"]
        return [*log, f"--metrics={at}", f"--runtime-dir={folder / 'run'}"]

    with Processes(on_line=lines.append, grace_s=1.0) as processes, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        dealing = ["dealer", f"--listen-server={for_server}", f"--listen-client={for_client}"]
        dealing += [*options("dealer", "server", "client"), *watched("dealer", metrics[0])]
        patch.setenv("PLANT", "1")
        processes.start("dealer", [*RECORDED, str(folder / "dealer.values"), *dealing])
        patch.delenv("PLANT")
        serving = ["serve", "--model=tiny-python", f"--listen={listen}", f"--dealer={for_server}"]
        serving += [*options("server", "client", "dealer"), *watched("server", metrics[1])]
        processes.start("server", [*RECORDED, str(folder / "server.values"), *serving])
        status = [*PROGRAM, "status", "--json", f"--runtime-dir={folder / 'run'}"]
        assert until(lambda: subprocess.run(status, capture_output=True, check=False).returncode == 0), lines
        asking = ["generate", PROMPT, "--tokens=8", f"--server={listen}", f"--dealer={for_client}"]
        asking += options("client", "server", "dealer")
        client = subprocess.run(
            [*RECORDED, str(folder / "client.values"), *asking],
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_S,
        )
        assert client.returncode == 0, client.stderr
        assert until(lambda: "session over" in (folder / "server.log").read_text(encoding="utf-8"))
        counted = [urllib.request.urlopen(f"http://{at}/metrics").read().decode() for at in metrics]
        shown = subprocess.run(status, capture_output=True, text=True, check=True).stdout
        shown += subprocess.run(
            [word for word in status if word != "--json"], capture_output=True, text=True, check=True
        ).stdout
    values = {line for name in ROLES for line in (folder / f"{name}.values").read_text("ascii").splitlines()}
    return Told(
        texts={
            "server.log": (folder / "server.log").read_text(encoding="utf-8"),
            "dealer.log": (folder / "dealer.log").read_text(encoding="utf-8"),
            "output": "\n".join(line for line in lines if '"planted"' not in line),
            "client": client.stderr,
            "metrics": "\n".join(counted),
            "status": shown,
        },
        planted=next(line for line in lines if '"planted"' in line),
        values=[value for value in map(bytes.fromhex, sorted(values)) if is_telling(value)],
        keys={name: load_secret(folder / f"{name}.secret") for name in ROLES},
        answer=client.stdout.removeprefix(PROMPT).strip(),
    )


def secrets(told: Told) -> Iterator[bytes | str]:
    """Everything that nobody may be told."""
    ids = load_public("tiny-python").tokenizer.encode(PROMPT)
    yield from (PROMPT, "zebra_quilt", "marmalade", told.answer)
    yield from (separator.join(map(str, ids)) for separator in (", ", ",", " "))
    yield from (pair.secret for pair in told.keys.values())
    yield from (z85_decode(pair.secret) for pair in told.keys.values())
    yield from told.values


def test_a_session_was_really_told(told: Told) -> None:
    """Otherwise nothing could be found in it."""
    assert len(told.answer) >= 8
    assert len(told.values) > 1000
    for name in ("server.log", "dealer.log"):
        events = [json.loads(line)["event"] for line in told.texts[name].splitlines()]
        assert {"serving", "session started", "session over"} <= {*events}
    assert 'mpcinfer_sessions_ended_total{outcome="served"} 1.0' in told.texts["metrics"]
    assert 'mpcinfer_rounds_total{phase="online"}' in told.texts["metrics"]
    assert '"served": 1' in told.texts["status"]


@pytest.mark.parametrize("where", ["server.log", "dealer.log", "output", "client", "metrics", "status"])
def test_no_secret_is_told(told: Told, where: str) -> None:
    assert found(secrets(told), told.texts[where]) == []


def test_what_was_planted_is_found(told: Told) -> None:
    seed = bytes.fromhex(json.loads(told.planted)["message"].removeprefix("seed "))
    assert found(secrets(told), told.planted) == [seed]


def test_every_way_of_writing_a_secret_is_found(
    told: Told, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A prompt, a key and a share, logged by mistake in each way."""
    request.addfinalizer(silence)
    configure(LogKind.JSON, LogLevel.DEBUG, file=tmp_path / "log")
    log = logger("worker")
    for secret in (PROMPT, told.keys["client"].secret, told.values[0]):
        ways = [*written(secret)]
        for way in ways:
            (tmp_path / "log").write_text("", encoding="utf-8")
            log.info("said", message=f"pass 3: {way}")
            assert found([secret], (tmp_path / "log").read_text(encoding="utf-8")) == [secret], way
        assert len(ways) > 8
