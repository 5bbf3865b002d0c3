"""A worker that dies when it gets a session costs nobody the session; two in a row do."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpcinfer.service.allow_list import AllowList
from mpcinfer.service.front import Front
from mpcinfer.service.limits import Limits
from mpcinfer.service.pool import Pool
from mpcinfer.service.worker_process import WorkerProcess, start_process
from parties.admission import ADMISSION_LABEL, Request, seek
from parties.errors import AdmissionRefused
from parties.keys import KeyPair, new_keypair
from parties.tcp import Reception, TcpChannel, connect
from tests.deadlines import HANG_S, until

_PORT = 12_345
_GETS_A_SESSION = 'print(\'{"event": "ready"}\', flush=True); input(); input(); '
DIES = _GETS_A_SESSION + "import os; os.kill(os.getpid(), 9)"
LISTENS = _GETS_A_SESSION + f'print(\'{{"event": "listening", "ports": {{"client": {_PORT}}}}}\'); input()'


class Sent(Exception):
    """A client was sent to a worker."""


def outcome_of(endpoint: str, keys: KeyPair, server: str) -> Exception:
    """What becomes of a client."""

    def dial(at: str, most_s: float | None) -> TcpChannel:
        if at != endpoint:
            raise Sent(at)
        return connect(at, keys, server, connect_timeout_s=HANG_S, recv_timeout_s=HANG_S)

    with pytest.raises((Sent, AdmissionRefused)) as raised:
        seek(dial, endpoint, Request(role="client"))
    return raised.value


def asked_of(folder: Path, programs: Iterator[str]) -> tuple[Exception, Front]:
    """What becomes of a client of a front with such workers, one after the other; and the front, ended."""
    client, server = new_keypair(folder / "clients", "client"), new_keypair(folder, "server")
    allowed, limits = AllowList(folder / "clients"), Limits(sessions=1)
    pool = Pool(1, lambda: WorkerProcess(start_process([sys.executable, "-u", "-c", next(programs)]), {}))
    reception = Reception(
        ["tcp://127.0.0.1:*"],
        server,
        ADMISSION_LABEL,
        may_enter=lambda key: key in allowed,
        on_malformed=lambda key, why: None,
    )
    front = Front(reception, {"client": allowed}, limits, pool, lambda event, **fields: None)
    heard: list[Exception] = []
    asking = threading.Thread(
        target=lambda: heard.append(outcome_of(reception.endpoints[0], client, server.public))
    )
    asking.start()

    def over() -> bool:
        front.step(0.05)
        return not asking.is_alive()

    try:
        assert until(over)
    finally:
        pool.close()
        reception.close()
        asking.join()
    return heard[0], front


@pytest.mark.parametrize("dead", [0, 1])
def test_one_that_dies_before_anybody_was_sent_to_it_costs_no_session(tmp_path: Path, dead: int) -> None:
    outcome, front = asked_of(tmp_path, iter([*[DIES] * dead, *[LISTENS] * 3]))
    assert isinstance(outcome, Sent)
    assert str(outcome) == f"tcp://127.0.0.1:{_PORT}"
    assert front.failed == 0


def test_two_that_die_end_the_session_with_a_reason(tmp_path: Path) -> None:
    outcome, front = asked_of(tmp_path, iter([DIES, DIES, LISTENS, LISTENS]))
    assert isinstance(outcome, AdmissionRefused)
    assert outcome.reason == "unavailable"
    assert front.failed == 1
