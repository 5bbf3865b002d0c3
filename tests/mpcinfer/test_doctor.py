"""What a machine is told that it lacks."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpcinfer import doctor
from mpcinfer.cli.main import app
from mpcinfer.doctor import Asked, Finding, State, examine
from parties.keys import new_keypair


def found(asked: Asked, name: str) -> Finding:
    return next(finding for finding in examine(asked) if finding.name == name)


def test_a_machine_that_runs_these_tests_has_what_it_needs() -> None:
    findings = list(examine(Asked()))
    assert [finding for finding in findings if finding.state is State.FAILED] == []
    assert {"machine", "kernels", "compiled code", "suite fss", "memory", "clock"} <= {
        f.name for f in findings
    }


def test_keys_of_others_and_keys_that_others_read(tmp_path: Path) -> None:
    for name in ("one", "two"):
        new_keypair(tmp_path, name)
    secret = tmp_path / "one.secret"
    assert found(Asked(keys=[secret]), f"key {secret}").state is State.OK
    assert found(Asked(keys=[tmp_path / "one.public"]), f"key {tmp_path / 'one.public'}").state is State.OK
    (tmp_path / "one.public").write_bytes((tmp_path / "two.public").read_bytes())
    assert "not its public part" in found(Asked(keys=[secret]), f"key {secret}").says
    missing = tmp_path / "none.secret"
    assert found(Asked(keys=[missing]), f"key {missing}").state is State.FAILED
    open_to_all = tmp_path / "two.secret"
    open_to_all.chmod(0o644)
    assert found(Asked(keys=[open_to_all]), f"key {open_to_all}").state is State.FAILED


def test_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        assert found(Asked(endpoints=[endpoint]), endpoint).state is State.OK
        assert found(Asked(listens=[endpoint]), endpoint).state is State.FAILED
    assert found(Asked(endpoints=[endpoint]), endpoint).state is State.FAILED
    assert found(Asked(listens=[endpoint]), endpoint).state is State.OK
    for wrong in ("127.0.0.1:80", "tcp://host", "tcp://host:port", "http://host:80", ""):
        assert "tcp://host:port" in found(Asked(endpoints=[wrong]), wrong).says


def test_little_room_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "not" / "there"
    assert found(Asked(folders=[folder]), f"disk {folder}").state is State.OK
    for name in ("FREE_BYTES", "MEMORY_BYTES", "RELEASED"):
        monkeypatch.setattr(doctor, name, 1 << 62)
    warned = [finding for finding in examine(Asked(folders=[folder])) if finding.state is State.WARNING]
    assert {"memory", "clock", f"disk {folder}"} <= {finding.name for finding in warned}
    assert all(finding.advice for finding in warned)


def test_the_command_says_it_and_its_status_does() -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["doctor"])
    assert (result.exit_code, "kernels" in result.stdout) == (0, True)
    result = runner.invoke(app, ["doctor", "--json", "--reach", "nowhere"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)[-1]["state"] == "failed"
