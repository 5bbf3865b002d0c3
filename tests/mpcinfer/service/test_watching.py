"""A service that is watched: log, counters and status agree, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mpcinfer.service.logs import LogKind
from mpcinfer.service.metrics import exposition
from mpcinfer.service.status import ServiceStatus
from mpcinfer.service.status_file import StatusFile
from mpcinfer.service.watching import BEAT_S, Watched, port_of, watching
from parties.bill import Bill, BillRow
from parties.errors import ConfigError, PeerClosed
from tests.deadlines import HANG_S, until

STATUS = ServiceStatus(role="server", name="7100", endpoint="tcp://127.0.0.1:7100", model="m", plan="fss")
BILL = Bill(rows=[BillRow(label="x", rounds=4, online_bytes_to_server=10)])


def how(folder: Path, **changes: Any) -> Watched:
    given: dict[str, Any] = {"log": LogKind.JSON, "log_file": folder / "log", "runtime": folder / "run"}
    return Watched(**{**given, **changes})


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log").read_text("utf-8").splitlines()]


def test_sessions_are_told_three_times_over(tmp_path: Path) -> None:
    file = StatusFile("server", "7100", tmp_path / "run")
    with watching(STATUS, how(tmp_path, metrics="127.0.0.1:0")) as watch:
        first = file.read()
        assert first is not None
        assert first.health() == "starting"
        watch.listening()
        watch.session_started()
        during = file.read()
        watch.session_ended(BILL)
        watch.session_started()
        watch.session_failed(PeerClosed("it went away"))
        watch.session_failed(PeerClosed("nobody came in"))  # none had started
        after = file.read()
        assert watch.metrics is not None
        counted = exposition(watch.metrics)
    assert during is not None
    assert after is not None
    assert (during.health(), during.running) == ("healthy", 1)
    assert (after.running, after.served, after.failed) == (0, 1, 2)
    assert after.last_error == "PeerClosed: nobody came in"
    for line in (
        "mpcinfer_sessions_running 0.0",
        'mpcinfer_sessions_ended_total{outcome="served"} 1.0',
        'mpcinfer_sessions_ended_total{outcome="failed"} 1.0',
        'mpcinfer_rounds_total{phase="online"} 4.0',
    ):
        assert line in counted
    found = events(tmp_path)
    assert [each["event"] for each in found] == [
        "serving",
        "session started",
        "session over",
        "session started",
        "session failed",
        "session failed",
    ]
    assert (found[2]["rounds"], found[2]["online_bytes_to_server"]) == (4, 10)
    assert file.read() is None


def test_it_beats_while_nothing_happens(tmp_path: Path) -> None:
    file = StatusFile("server", "7100", tmp_path / "run")
    with watching(STATUS, how(tmp_path)):
        first = file.read()
        assert first is not None

        def later() -> bool:
            found = file.read()
            return found is not None and found.machine_seconds > first.machine_seconds + BEAT_S / 2

        assert until(later)


def test_a_run_of_one_session_has_no_document(tmp_path: Path) -> None:
    with watching(STATUS, how(tmp_path, status=False)) as watch:
        watch.listening()
        assert not (tmp_path / "run").exists()


def test_an_error_that_ends_it_is_logged_and_raised(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="taken"), watching(STATUS, how(tmp_path)):
        raise ConfigError("the port is taken")
    assert events(tmp_path)[-1]["event"] == "ended by an error"
    assert list((tmp_path / "run").iterdir()) == []


def test_what_a_dead_service_left_is_taken_away(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = StatusFile("server", "7999", tmp_path / "run")
    left.write(ServiceStatus(role="server", name="7999", endpoint="x", pid=ended.pid))
    lives = StatusFile("server", "7998", tmp_path / "run")
    lives.write(ServiceStatus(role="server", name="7998", endpoint="x"))
    with watching(STATUS, how(tmp_path)):
        assert left.read() is None
        assert lives.read() is not None


def test_a_folder_that_is_gone_ends_no_session_and_is_said_once(tmp_path: Path) -> None:
    with watching(STATUS, how(tmp_path)) as watch:
        (tmp_path / "run" / "server-7100.status.json").unlink(missing_ok=True)
        (tmp_path / "run").rename(tmp_path / "away")
        (tmp_path / "run").write_text("in the way", encoding="utf-8")
        watch.session_started()
        watch.session_ended(None)
    assert [each["event"] for each in events(tmp_path)].count("status not written") == 1


def test_sigterm_ends_it_in_order(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from mpcinfer.service.watching import *\n"
        "status = ServiceStatus(role='server', name='7100', endpoint='x')\n"
        "how = Watched(log=LogKind.JSON, runtime=Path(sys.argv[1]))\n"
        "with watching(status, how) as watch:\n    watch.listening()\n    time.sleep(10000)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    file = StatusFile("server", "7100", tmp_path / "run")

    def serves() -> bool:
        found = file.read()
        return found is not None and found.health() == "healthy"

    assert until(serves)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=HANG_S)
    assert process.returncode == 0
    assert json.loads(said.splitlines()[-1])["event"] == "ended as asked"
    assert file.read() is None


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [("tcp://127.0.0.1:7100", "7100"), ("tcp://x:*", "_"), ("", "_"), ("ipc://a/b", "__a_b")],
)
def test_a_name_from_an_endpoint(endpoint: str, name: str) -> None:
    assert port_of(endpoint) == name
    StatusFile("server", name)
