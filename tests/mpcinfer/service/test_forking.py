"""Workers that are forked: what they have of their own, how they end, and without their fork server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mpcinfer.service.forking import WORKER, ForkServer
from mpcinfer.service.worker import State
from mpcinfer.service.worker_process import WorkerProcess
from tests.deadlines import HANG_S, until


@pytest.fixture
def kept() -> Generator[int]:
    """A descriptor that workers keep."""
    number = os.memfd_create("kept")
    yield number
    os.close(number)


@pytest.fixture
def fork_server(kept: int) -> Generator[ForkServer]:
    """One whose workers are `forked.py`."""
    with closing(ForkServer("tests.mpcinfer.service.forked", ["fss"], [kept])) as made:
        yield made


def ready(worker: WorkerProcess) -> dict[str, Any]:
    """What it said when it was."""
    heard: list[dict[str, Any]] = []

    def said() -> bool:
        heard.extend(worker.events())
        return worker.state is State.READY

    assert until(said)
    return next(event for event in heard if event["event"] == "ready")


def ended(worker: WorkerProcess) -> int | None:
    assert until(lambda: any(event["event"] == "ended" for event in worker.events()))
    return worker.exit_code


def test_forks_are_children_of_the_front_and_draw_apart(fork_server: ForkServer, kept: int) -> None:
    workers = [fork_server.start({"kept": kept, "n": number}) for number in range(3)]
    said = [ready(worker) for worker in workers]
    assert [each["terms"]["n"] for each in said] == [0, 1, 2]
    assert all(each["parent"] == os.getpid() for each in said)
    assert all(each["kept"].startswith("/memfd:kept") for each in said)
    for source in zip(*(each["drawn"] for each in said), strict=True):
        assert len(set(source)) == 3
    assert all("process" in each["broken"] for each in said)  # a stream from before the fork refuses
    assert len({worker.pid for worker in workers}) == 3
    assert {Path(f"/proc/{worker.pid}/comm").read_text().strip() for worker in workers} == {WORKER}
    for status, worker in enumerate(workers):
        worker._tell({"serve": {"status": status}})
        assert ended(worker) == status
        assert not Path(f"/proc/{worker.pid}").exists()


def test_a_killed_fork_and_one_without_a_front_end(fork_server: ForkServer, kept: int) -> None:
    killed, left = (fork_server.start({"kept": kept}) for _ in range(2))
    ready(killed), ready(left)
    killed.end(at_once=True)
    assert ended(killed) == -signal.SIGKILL
    left._input.close()  # as when the front is gone
    assert ended(left) == -signal.SIGTERM


def test_forks_outlive_their_fork_server_which_is_started_again(fork_server: ForkServer, kept: int) -> None:
    first = fork_server.start({"kept": kept})
    ready(first)
    assert fork_server._process is not None
    fork_server._process.kill()
    fork_server._process.wait(HANG_S)
    second = fork_server.start({"kept": kept})
    ready(second)
    for worker in (first, second):
        worker._tell({"serve": {"status": 7}})
        assert ended(worker) == 7


def test_a_fork_that_was_asked_for_in_vain_has_ended(fork_server: ForkServer, kept: int) -> None:
    worker = fork_server.start({"kept": kept})  # while the fork server imports
    fork_server.close()
    assert ended(worker) == 255
    assert worker.pid == 0


def test_a_fork_server_ends_with_its_front() -> None:
    program = (
        "from mpcinfer.service.forking import ForkServer\n"
        "made = ForkServer('tests.mpcinfer.service.forked', [])\n"
        "made.start({'kept': 0})\n"
        "print(made._process.pid, flush=True)\n"
        "input()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as front:
        assert front.stdout is not None
        server = Path(f"/proc/{int(front.stdout.readline())}")
        assert server.exists()
        front.kill()
    assert until(lambda: not server.exists())
