"""What counts faults as survived notices what must not pass."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from bench.faults import ledger, leftovers, service
from bench.faults.commands import Command
from bench.faults.outcome import EXACT, Answer, NotSurvived, outcome_of
from bench.faults.service import Service, Setting

BILL = {
    "rounds": 1,
    "online_bytes_to_server": 2,
    "online_bytes_to_client": 3,
    "offline_bytes_to_server": 4,
    "offline_bytes_to_client": 5,
    "setup_bytes": 6,
}


def ended(folder: Path, status: int, *, out: str = "", err: str = "") -> Command:
    for name, text in (("out", out), ("err", err)):
        (folder / name).write_text(text)
    return Command(0, folder / "out", folder / "err", status)


def answered(folder: Path, note: str) -> Command:
    return ended(folder, 0, out=json.dumps({"text": " x", "bill": {**BILL, "notes": [note]}}))


def test_an_answer_counts_with_an_exact_bill_alone(tmp_path: Path) -> None:
    right = outcome_of(answered(tmp_path, f"the kernel counted 1 byte: {EXACT}"))
    assert right == Answer(" x", (1, 2, 3, 4, 5, 6))
    with pytest.raises(NotSurvived, match="not exactly as billed"):
        outcome_of(answered(tmp_path, "the kernel counted 1 byte, 2 were billed"))


def test_an_error_counts_by_its_name_alone(tmp_path: Path) -> None:
    assert outcome_of(ended(tmp_path, 1, err="a word\nPeerClosed: the peer died\n")) == "PeerClosed"
    for status, err in (
        (1, "Segmentation fault"),
        (1, "ValueError: no error of ours"),
        (1, "Traceback (most recent call last):\nPeerClosed: in the middle of it"),
        (-9, "PeerClosed: and then it was killed"),
    ):
        with pytest.raises(NotSurvived, match="without a named error"):
            outcome_of(ended(tmp_path, status, err=err))


def test_the_ledger_tells_who_was_used_twice_and_what_never_ended(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / ledger.LEDGER)) as writing:
        writing.execute("CREATE TABLE uses (bundle TEXT, at REAL, owner TEXT)")
        writing.execute("CREATE TABLE bundles (id TEXT, state TEXT)")
        writing.executemany("INSERT INTO uses VALUES (?, 0, '')", [("a",), ("b",), ("b",)])
        writing.executemany("INSERT INTO bundles VALUES (?, ?)", [("a", "spent"), ("b", "taken")])
        writing.commit()
    assert ledger.used(tmp_path) == 3
    assert ledger.used_twice(tmp_path) == ["b"]
    assert ledger.unended(tmp_path) == ["b"]


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Service]:
    """A service of which nothing runs, and no patience."""
    monkeypatch.setattr(service, "BOUND_S", 0.3)
    made = Service(tmp_path / "service", Setting())
    yield made
    made.end_all()


def test_what_is_left_over_is_seen(idle: Service) -> None:
    idle.require_settled()
    orphan = subprocess.Popen(
        [sys.executable, "-c", "input()", "a serving_worker"], stdin=subprocess.PIPE, env=idle.environment
    )
    while orphan.pid not in leftovers.marked(idle.mark):
        pass
    with pytest.raises(NotSurvived, match="orphans"):
        idle.require_settled()
    with pytest.raises(NotSurvived, match="processes"):
        idle.close()
    orphan.communicate()
    forgotten = idle.folder / "temporary" / "forgotten"
    forgotten.touch()
    with pytest.raises(NotSurvived, match="files"):
        idle.require_settled()
    forgotten.unlink()
    with socket.create_server(("127.0.0.1", idle.ports["server"])):
        assert leftovers.ports(os.getpid(), leftovers.LISTENING) >= {idle.ports["server"]}
        with pytest.raises(NotSurvived, match="ports"):
            idle.close()
    idle.close()
