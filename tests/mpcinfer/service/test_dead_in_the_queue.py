"""A party that died in the queue gets no worker, which would wait for it in vain."""

from __future__ import annotations

from pathlib import Path

from mpcinfer.service.admitting import Admitting
from mpcinfer.service.allow_list import AllowList
from mpcinfer.service.limits import Limits
from mpcinfer.service.pool import Pool
from mpcinfer.service.queue import FairQueue
from mpcinfer.service.worker_process import WorkerProcess
from parties.admission import Request
from parties.keys import load_public, new_keypair
from parties.tcp import Visitor


def no_worker() -> WorkerProcess:
    raise AssertionError("nobody starts one here")


def test_the_next_one_that_still_asks_is_served_first(tmp_path: Path) -> None:
    keys: list[str] = []
    for name in ("dead", "living"):
        new_keypair(tmp_path, name)
        keys.append(load_public(tmp_path / f"{name}.public"))
    queue, limits = FairQueue(), Limits(sessions=1)
    lists = {"client": AllowList(tmp_path)}
    admitting = Admitting(limits, lists, queue, {}, Pool(1, no_worker))
    dead, living = (admitting.entry_of(key, Request(role="client")) for key in keys)
    for entry, key in ((dead, keys[0]), (living, keys[1])):
        entry.pending["client"] = (Visitor(b"", key), 0.0)
    dead.pending.clear()  # it was told that it waits, and did not ask again
    assert queue.next(admitting.may_run) is living
    assert queue.next(admitting.may_run) is None
    dead.pending["client"] = (Visitor(b"", keys[0]), 0.0)  # it was only slow
    assert queue.next(admitting.may_run) is dead
