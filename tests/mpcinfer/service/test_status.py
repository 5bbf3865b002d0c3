"""The status document: written whole, read with suspicion, and stale when its service is."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mpcinfer.service import status as status_module
from mpcinfer.service.memory import memory_of
from mpcinfer.service.status import STALE_S, Health, ServiceState, ServiceStatus, machine_clock
from mpcinfer.service.status_file import StatusFile, runtime_folder, status_files
from parties.errors import ConfigError

STATUS = ServiceStatus(
    role="server",
    name="7100",
    endpoint="tcp://127.0.0.1:7100",
    model="tiny-python",
    state=ServiceState.SERVING,
    refusals={"busy": 3},
    served=4,
)


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = StatusFile("server", "7100", tmp_path / "run")
    assert file.read() is None
    file.write(STATUS)
    read = file.read()
    assert read is not None
    assert dataclasses.replace(read, written="", machine_seconds=0.0) == STATUS
    assert read.health() is Health.HEALTHY
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["server-7100.status.json"]
    file.remove()
    file.remove()
    assert file.read() is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pid", -1),
        ("pid", "1"),
        ("pid", True),
        ("pid", 1 << 70),
        ("role", None),
        ("model", "x" * 5000),
        ("state", "asleep"),
        ("refusals", {"busy": "many"}),
        ("refusals", {str(number): 1 for number in range(500)}),
        ("machine_seconds", "now"),
        ("machine_seconds", float("nan")),
        ("format", 99),
        ("more", 1),
    ],
)
def test_every_field_is_checked(field: str, value: Any) -> None:
    document = {**json.loads(STATUS.to_json()), field: value}
    with pytest.raises(ConfigError, match=rf"here: .*({field}|version)"):
        ServiceStatus.from_json(json.dumps(document), "here")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}', "[" * 100_000, b"\xff"])
def test_what_is_no_document_is_an_error_of_ours(text: str | bytes) -> None:
    with pytest.raises(ConfigError, match="status document"):
        ServiceStatus.from_json(text, "here")


@pytest.mark.parametrize(("state", "health"), [("starting", "starting"), ("draining", "draining")])
def test_states_are_health(state: str, health: str) -> None:
    assert dataclasses.replace(STATUS, state=ServiceState(state)).now().health() == health


def test_one_that_said_nothing_for_long_is_stale() -> None:
    for age in (STALE_S + 1, -5.0):  # before now, and of another start of the machine
        old = dataclasses.replace(STATUS, machine_seconds=machine_clock() - age)
        assert old.health() is Health.STALE


def test_one_whose_process_is_gone_is_stale() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert dataclasses.replace(STATUS, pid=ended.pid).now().health() is Health.STALE


def test_a_clock_that_is_set_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = STATUS.now()
    monkeypatch.setattr(status_module, "utc_now", lambda: "2001-01-01T00:00:00Z")
    assert fresh.health() is Health.HEALTHY
    assert STATUS.now().health() is Health.HEALTHY


def _writes(folder: str, count: int) -> None:
    file = StatusFile("server", "7100", Path(folder))
    for number in range(count):
        file.write(dataclasses.replace(STATUS, served=number, last_error="x" * (number % 2000)))


def test_a_reader_never_sees_half_a_document(tmp_path: Path) -> None:
    """Two processes write while this one reads: `from_json` would refuse what is cut."""
    StatusFile("server", "7100", tmp_path / "run").write(STATUS)
    folder = str(tmp_path / "run")
    writers = [multiprocessing.get_context("spawn").Process(target=_writes, args=(folder, 300)) for _ in "ab"]
    for each in writers:
        each.start()
    reads = 0
    while any(each.is_alive() for each in writers):
        assert StatusFile("server", "7100", tmp_path / "run").read() is not None
        reads += 1
    for each in writers:
        each.join()
    assert reads > 10
    assert [each.exitcode for each in writers] == [0, 0]


@pytest.mark.parametrize(("role", "name"), [("client", "1"), ("server", "../x"), ("server", ""), ("", "1")])
def test_names_stay_in_the_folder(tmp_path: Path, role: str, name: str) -> None:
    with pytest.raises(ConfigError):
        StatusFile(role, name, tmp_path)


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("open", "link"):
        with pytest.raises(ConfigError, match="not this user's own"):
            StatusFile("server", "7100", tmp_path / name).write(STATUS)


def test_documents_of_a_folder(tmp_path: Path) -> None:
    for role, name in (("server", "1"), ("server", "2"), ("dealer", "1")):
        StatusFile(role, name, tmp_path).write(dataclasses.replace(STATUS, role=role, name=name))
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    assert [each.path.name for each in status_files(tmp_path)] == [
        "dealer-1.status.json",
        "server-1.status.json",
        "server-2.status.json",
    ]
    assert len(status_files(tmp_path, "server")) == 2
    assert status_files(tmp_path / "none") == []


def test_where_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these counts more than those after it, which are there, too."""
    for name in ("MPCINFER_RUNTIME_DIR", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert runtime_folder().name == f"mpcinfer-{os.getuid()}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert runtime_folder() == Path("/run/user/7/mpcinfer")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a:/run/b")
    assert runtime_folder() == Path("/run/a")
    monkeypatch.setenv("MPCINFER_RUNTIME_DIR", "/run/c")
    assert runtime_folder() == Path("/run/c")
    assert runtime_folder(tmp_path) == tmp_path


def test_memory_is_counted_once_where_it_is_shared() -> None:
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("no smaps_rollup here")
    alone = memory_of([os.getpid()])
    assert alone.private > 1 << 20
    assert alone.shared >= 0
    assert memory_of([1 << 30]).private == 0
