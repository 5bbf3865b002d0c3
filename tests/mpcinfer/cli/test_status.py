"""`mpcinfer status`: what is shown, and the exit status that health checks go by."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpcinfer.cli.main import app
from mpcinfer.service.status import ServiceState, ServiceStatus
from mpcinfer.service.status_file import StatusFile

SERVES = ServiceStatus(
    role="server",
    name="7100",
    endpoint="tcp://127.0.0.1:7100",
    model="tiny-python",
    plan="fss",
    state=ServiceState.SERVING,
    running=2,
    queued=3,
    refusals={"busy": 5},
    workers_ready=1,
    last_error="PeerClosed: it went away",
)
DEALS = ServiceStatus(
    role="dealer", name="7101", endpoint="tcp://127.0.0.1:7101", state=ServiceState.SERVING, bundles_ready=4
)


def told(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit status and what is printed."""
    result = CliRunner().invoke(app, ["status", f"--runtime-dir={folder}", *arguments], terminal_width=100)
    return result.exit_code, result.output


def write(folder: Path, status: ServiceStatus) -> None:
    StatusFile(status.role, status.name, folder).write(status)


def test_nothing_runs(tmp_path: Path) -> None:
    code, output = told(tmp_path / "none", "server")
    assert code == 1
    assert output.startswith("no server tells anything in")


def test_one_that_serves(tmp_path: Path) -> None:
    write(tmp_path, SERVES)
    write(tmp_path, DEALS)
    code, output = told(tmp_path)
    assert code == 0
    for shown in (
        "healthy",
        "tiny-python, plan fss",
        "2 running, 3 queued",
        "5 busy",
        "PeerClosed",
        "4 sessions",
    ):
        assert shown in output
    code, output = told(tmp_path, "server", "--name=7100")
    assert "dealer" not in output
    assert code == 0
    assert told(tmp_path, "server", "--name=7999")[0] == 1
    assert told(tmp_path, "proxy")[0] == 1


@pytest.mark.parametrize(("state", "code"), [("serving", 0), ("starting", 1), ("draining", 2)])
def test_exit_statuses(tmp_path: Path, state: str, code: int) -> None:
    write(tmp_path, DEALS)
    write(tmp_path, dataclasses.replace(SERVES, state=ServiceState(state)))
    assert told(tmp_path)[0] == code


def test_one_that_is_gone_is_stale(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write(tmp_path, DEALS)
    write(tmp_path, dataclasses.replace(SERVES, pid=ended.pid))
    code, output = told(tmp_path)
    assert code == 1
    assert "stale" in output


def test_as_json(tmp_path: Path) -> None:
    write(tmp_path, SERVES)
    code, output = told(tmp_path, "--json")
    [document] = json.loads(output)
    assert code == 0
    assert document["health"] == "healthy"
    assert document["refusals"] == {"busy": 5}
