"""kill -9 of processes that deal and take: no bundle is used twice, and nothing is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from mpcinfer.service.dealing.open_store import OpenStore
from parties.randomness import SystemRandom
from tests.deadlines import HANG_S, until
from tests.mpcinfer.service import taking

KILLS = 24
_MOST_MS = 500
_ROOT = Path(__file__).parents[3]


def _start(folder: Path, log: Path) -> subprocess.Popen[str]:
    """A process that is dealing and taking by now."""
    process = subprocess.Popen(
        [sys.executable, str(Path(taking.__file__)), str(folder), str(log)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(HANG_S)
    assert process.returncode == -signal.SIGKILL, "it ended by itself before"
    assert process.stdout is not None
    process.stdout.close()


def _random_s() -> float:
    """A moment that nobody chose."""
    return int.from_bytes(SystemRandom().draw_bytes(4), "big") % _MOST_MS / 1000


def used_twice(logs: Sequence[str]) -> list[str]:
    """Seeds that processes used more than once, whoever did."""
    seeds = Counter(line.split()[1] for log in logs for line in log.splitlines() if len(line.split()) == 2)
    return [seed for seed, uses in seeds.items() if uses > 1]


def _require_sound(store: OpenStore, logs: Sequence[str]) -> None:
    """The ledger and what processes noted agree, and no folder is left over."""
    with store.ledger.transaction() as tx:
        uses = Counter(bundle for (bundle,) in tx.execute("SELECT bundle FROM uses"))
        state = dict(tx.execute("SELECT id, state FROM bundles").fetchall())
    assert used_twice(logs) == []
    assert set(uses.values()) == {1}
    noted = {line.split()[0] for log in logs for line in log.splitlines() if line}
    assert noted <= set(uses)
    assert {state[bundle] for bundle in uses} <= {"spent", "lost"}
    ready = {bundle for bundle, is_in in state.items() if is_in == "ready"}
    assert {path.name for path in (store.folder / "bundles").iterdir()} == ready
    assert [path.name for path in (store.folder / "owners").iterdir()] == [store._owner.name]


@pytest.mark.slow
@pytest.mark.e2e
def test_bundles_are_used_once_whenever_processes_are_killed(tmp_path: Path) -> None:
    """Two at once, each killed at a random moment and replaced; a living one cleans up behind a dead one."""
    folder = tmp_path / "store"
    with taking.opened(folder) as store:
        taking.want(store)
    running = [_start(folder, tmp_path / f"log-{i}") for i in range(2)]
    try:
        for kill in range(KILLS):
            time.sleep(_random_s())
            _kill(running.pop(0))
            running.append(_start(folder, tmp_path / f"log-{kill + 2}"))
    finally:
        for process in running:
            _kill(process)
    logs = [path.read_text() for path in sorted(tmp_path.glob("log-*"))]
    assert len(logs) == KILLS + 2
    with taking.opened(folder) as store:
        store.recover()
        _require_sound(store, logs)
        with store.ledger.transaction() as tx:
            lost = tx.execute("SELECT count(*) FROM bundles WHERE state = 'lost'").fetchone()[0]
        assert lost > 0, "no kill came in the middle of anything: the sweep shows nothing"
        assert taking.deal(store)  # the next one works


def test_a_bundle_that_is_used_twice_would_be_seen() -> None:
    """The check by which the sweep judges."""
    assert used_twice(["a 01\nb 02\n", "c 03\n"]) == []
    assert used_twice(["a 01\nb 02\n", "c 02\n"]) == ["02"]


def test_of_processes_that_race_one_wins(tmp_path: Path) -> None:
    """Threads with a store each: the ledger does not tell them from processes."""
    folder = tmp_path / "store"
    with taking.opened(folder) as store:
        taking.want(store)
        for _ in range(20):
            assert taking.deal(store)
    taken, start = list[str](), threading.Barrier(4)

    def race() -> None:
        with taking.opened(folder) as mine, (tmp_path / "log").open("ab") as log:
            start.wait(HANG_S)
            while (bundle := taking.take(mine, log.fileno())) is not None:
                taken.append(bundle)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
    assert len(taken) == len(set(taken)) == 20


def test_what_a_living_process_has_is_left_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with taking.opened(folder) as mine, taking.opened(folder) as other:
        taking.want(mine)
        assert taking.deal(mine)
        taken = mine.bundles.take(taking.PAIR, taking.PROGRAM.digest, 5, since=0.0, now=mine.now())
        assert taken is not None
        assert other.recover().lost == 0
        assert (taken.folder / taking.SEED).exists()
        mine.bundles.spend(taken, mine.now())


@pytest.mark.e2e
def test_a_killed_process_leaves_what_it_took_to_nobody(tmp_path: Path) -> None:
    folder, log = tmp_path / "store", tmp_path / "log"
    with taking.opened(folder) as store:
        taking.want(store)
        process = _start(folder, log)
        assert until(lambda: log.stat().st_size > 0)
        _kill(process)
        store.recover()
        _require_sound(store, [log.read_text()])
