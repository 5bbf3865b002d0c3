"""Workers that are started ahead: every way in which one may end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from mpcinfer.service import pool as pools
from mpcinfer.service.pool import Pool
from mpcinfer.service.worker_process import State, WorkerProcess, start_process
from tests.deadlines import until

_SIDE = "from mpcinfer.service.worker_side import WorkerSide\nside = WorkerSide()\nside.told()\n"
READY = _SIDE + "side.say('ready')\nprint('noise')\ntold = side.told()\n"
SERVES = READY + "side.say('listening', ports={'client': 7})\nside.say('over', rounds=3)\n"
CRASHES = READY + "raise SystemExit(3)\n"
NEVER_READY = _SIDE + "raise SystemExit(1)\n"


@contextmanager
def pool(size: int, *programs: str) -> Generator[tuple[Pool, list[dict[str, object]]]]:
    """A pool whose workers run these programs, one after the other and then the last."""
    waiting, heard = list(programs), list[dict[str, object]]()

    def start() -> WorkerProcess:
        program = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return WorkerProcess(start_process([sys.executable, "-c", program]), {"n": 1})

    made = Pool(size, start)
    try:
        yield made, heard
    finally:
        made.close()


def follows(made: Pool, heard: list[dict[str, object]], happened: Callable[[], bool]) -> bool:
    def look() -> bool:
        made.fill()
        heard.extend(event for _, event in made.events())
        return happened()

    return until(look)


def test_as_many_are_ready_and_one_that_served_is_replaced() -> None:
    with pool(2, SERVES) as (made, heard):
        assert follows(made, heard, lambda: made.count(State.READY) == 2)
        worker = made.ready()
        assert worker is not None
        worker.serve({"client": "key"}, "alice")
        assert follows(made, heard, lambda: {"event": "ended", "code": 0} in heard)
        assert {"event": "listening", "ports": {"client": 7}} in heard
        assert {"event": "over", "rounds": 3} in heard
        assert worker.exit_code == 0
        assert follows(made, heard, lambda: made.count(State.READY) == 2)
        assert made.restarts == 0


def test_a_crash_and_a_kill_are_seen_and_replaced() -> None:
    with pool(1, CRASHES, SERVES) as (made, heard):
        assert follows(made, heard, lambda: made.ready() is not None)
        worker = made.ready()
        assert worker is not None
        worker.serve({"client": "key"}, "alice")
        assert follows(made, heard, lambda: {"event": "ended", "code": 3} in heard)
        assert follows(made, heard, lambda: made.ready() is not None)
        worker = made.ready()
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        assert follows(made, heard, lambda: {"event": "ended", "code": -9} in heard)
        assert follows(made, heard, lambda: made.ready() is not None)
        assert made.restarts == 2


def test_workers_that_never_start_are_not_started_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_FIRST_PAUSE_S", 3600.0)
    with pool(1, NEVER_READY) as (made, heard):
        assert follows(made, heard, lambda: made.failed_starts == 1)
        made.fill()
        assert not made.workers


def test_workers_end_with_their_front() -> None:
    worker = WorkerProcess(start_process([sys.executable, "-c", READY + "side.told()"]), {})
    assert until(lambda: any(event["event"] == "ready" for event in worker.events()))
    worker._input.close()  # as when the front is gone
    assert until(lambda: any(event["event"] == "ended" for event in worker.events()))
    assert worker.exit_code == -signal.SIGTERM


def test_memory_that_is_a_workers_own_is_seen() -> None:
    program = READY + "held = bytearray(b'x' * (200 << 20))\nside.say('held')\nside.told()"
    worker = WorkerProcess(start_process([sys.executable, "-c", program]), {})
    assert until(lambda: any(event["event"] == "ready" for event in worker.events()))
    before = worker.private_bytes()
    worker.serve({"client": "key"}, "alice")
    assert until(lambda: any(event["event"] == "held" for event in worker.events()))
    assert worker.private_bytes() - before > 190 << 20
    worker.end(at_once=True)
    worker.close(5.0)
    assert worker.private_bytes() == 0
