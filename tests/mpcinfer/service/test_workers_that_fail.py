"""Workers that die while they start or just after, and a machine that has no room for one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from mpcinfer.service.pool import Pool
from mpcinfer.service.worker_process import State, WorkerProcess, start_process
from tests.deadlines import until

_READY = 'print(\'{"event": "ready"}\', flush=True)'


def worker(program: str) -> WorkerProcess:
    return WorkerProcess(start_process([sys.executable, "-c", program]), {})


def ends(pool: Pool) -> int:
    """Takes what workers said until one has ended; its status."""
    heard: list[dict[str, Any]] = []

    def ended() -> bool:
        heard.extend(event for _, event in pool.events())
        return any(event["event"] == "ended" for event in heard)

    assert until(ended)
    return heard[-1]["code"]


def gone(pid: int) -> bool:
    """Whether a process has ended, noticed or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_worker_that_dies_while_it_starts_delays_the_next_one() -> None:
    pool = Pool(1, lambda: worker("import os; os.kill(os.getpid(), 9)"))
    pool.fill()
    assert ends(pool) == -9
    assert (pool.failed_starts, pool.restarts) == (1, 1)
    pool.fill()
    assert not pool.workers
    pool.close()


def test_a_worker_that_was_ready_and_died_before_anybody_looked_had_started() -> None:
    pool = Pool(1, lambda: worker(f"{_READY}; import os; os.kill(os.getpid(), 9)"))
    pool.fill()
    (only,) = pool.workers
    assert until(lambda: gone(only.pid))  # so that both are heard at once
    assert ends(pool) == -9
    assert (pool.failed_starts, pool.restarts) == (0, 1)
    pool.fill()
    assert len(pool.workers) == 1
    pool.close()


def test_no_room_for_a_process_is_a_start_that_failed() -> None:
    room = [False]

    def start() -> WorkerProcess:
        if not room[0]:
            raise BlockingIOError(os.strerror(11))
        return worker(f"{_READY}; input()")

    pool = Pool(1, start)
    pool.fill()
    assert (len(pool.workers), pool.failed_starts) == (0, 1)
    room[0] = True

    def ready() -> bool:
        pool.fill()
        pool.events()
        return pool.count(State.READY) == 1

    assert until(ready)
    assert pool.failed_starts == 0
    pool.close()
