"""Dealing ahead in the background: what for, for whom first, how much, and on a full disk."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mpcinfer.service.dealing import refill as refilling
from mpcinfer.service.dealing import wants
from mpcinfer.service.dealing.open_store import OpenStore
from mpcinfer.service.dealing.refill import Refill, Refilled, is_full, refill_forever
from mpcinfer.service.dealing.store import DealerStore
from mpcinfer.service.dealing.wants import Pair, ProgramText
from mpcinfer.suites.stock import Schedule
from parties.errors import ConfigError
from parties.randomness import SystemRandom
from protocols.fss.preprocessing.correlations import Writer
from protocols.fss.preprocessing.dealer_bundle import DealerBundleWriter
from tests.deadlines import HANG_S, until
from tests.mpcinfer.service.stored_sessions import (
    BUDGET,
    CLIENT_KEY,
    SERVER_KEY,
    bundle_folders,
    opened,
    program,
    rows,
    states,
    stored,
    talk,
)

SCHEDULE = Schedule(tokens=3, passes=2)
KILLS = 4


def want(
    store: OpenStore, client: str = CLIENT_KEY, sessions: int = 1, schedule: Schedule = SCHEDULE
) -> None:
    """Sessions that a pair had."""
    text = ProgramText.of("fss", program().to_document())
    with store.ledger.transaction() as tx:
        for _ in range(sessions):
            wants.learn(tx, Pair(SERVER_KEY, client).id(tx), text, schedule, store.now())


def on_disk(store: OpenStore) -> int:
    """Bytes of all streams."""
    return sum(
        path.stat().st_size for path in (store.folder / "bundles").glob("*/*") if path.name != "bundle"
    )


def _refill(store: OpenStore) -> Refill:
    return Refill(store, threading.Event())


def test_as_many_are_dealt_as_were_wanted(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        refill = _refill(store)
        assert refill.step() is Refilled.NOTHING
        want(store, sessions=2)
        assert [refill.step() for _ in range(3)] == [Refilled.DEALT, Refilled.DEALT, Refilled.NOTHING]
        status = store.status()
        assert status.refilled is not None
        assert status.kinds[0].bundles == {"ready": 2}
        assert status.held_bytes == on_disk(store) > 0
        for path in [store.folder, *store.folder.rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path


def test_who_has_least_in_stock_comes_first(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        want(store, "A" * 40, sessions=3)
        refill = _refill(store)
        assert refill.step() is Refilled.DEALT
        want(store, "B" * 40)
        want(store, "A" * 40)
        assert refill.step() is Refilled.DEALT
        held = {pair.client[0]: pair.bundles for pair in store.status().pairs}
        assert held == {"A": {"ready": 1}, "B": {"ready": 1}}


def test_the_budget_is_kept_and_shared(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        want(store)
        assert _refill(store).step() is Refilled.DEALT
        size = store.status().held_bytes
    budget = 2 * size + size // 2
    with opened(tmp_path / "store", budget_bytes=budget) as store:
        want(store, sessions=3)
        refill = _refill(store)
        assert [refill.step(), refill.step()] == [Refilled.DEALT, Refilled.NO_ROOM]
        assert on_disk(store) <= budget
        assert states(store) == {"ready": 2}
        want(store, "B" * 40)  # its half is free of others, but the budget is not
        assert refill.step() is Refilled.NO_ROOM
    with opened(tmp_path / "store", budget_bytes=0) as store:
        assert _refill(store).step() is Refilled.NO_ROOM


def test_what_a_bundle_takes_is_known_before(tmp_path: Path) -> None:
    """A budget that is one byte less than what is counted has no room; counted is no less than dealt."""
    from mpcinfer.suites.fss.stored_dealing import most_bundle_bytes

    most = most_bundle_bytes(program().to_document(), SCHEDULE)
    with opened(tmp_path / "store", budget_bytes=most - 1) as store:
        want(store)
        assert _refill(store).step() is Refilled.NO_ROOM
    with opened(tmp_path / "store", budget_bytes=most) as store:
        assert _refill(store).step() is Refilled.DEALT
        assert most // 2 < store.status().held_bytes <= most


def _full_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has no room after so many writes; 0 for enough again."""
    made = DealerBundleWriter.writer
    left = [writes]

    def writer(self: DealerBundleWriter, stream: int) -> Writer:
        write = made(self, stream)

        def limited(data: NDArray[np.uint8]) -> None:
            left[0] -= 1
            if left[0] == 0:
                cause = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                raise ConfigError(f"{self._folder}: {cause}") from cause
            write(data)

        return limited

    monkeypatch.setattr(DealerBundleWriter, "writer", writer)


def test_a_disk_that_fills_up_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "store") as store:
        want(store)
        refill = _refill(store)
        with monkeypatch.context() as context:
            _full_after(5, context)
            assert refill.step() is Refilled.FULL
        assert bundle_folders(store) == set()
        assert states(store) == {}
        assert refill.step() is Refilled.DEALT  # there is room again


def test_a_write_that_the_system_refuses_is_seen_as_a_full_disk(tmp_path: Path) -> None:
    """The real error: a file beyond what a process may write."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_write_too_much, args=(tmp_path,))
    process.start()
    process.join(HANG_S)
    assert process.exitcode == 0


def _write_too_much(folder: Path) -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    files = DealerBundleWriter(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    with pytest.raises(ConfigError) as refused:
        files.writer(0)(np.zeros(1 << 20, np.uint8))
    files.writer(1)(np.zeros(100, np.uint8))  # taken, and on no disk yet
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 1 << 16))
    files.close()
    os._exit(0 if is_full(refused.value) else 1)


def test_a_loop_says_that_the_disk_is_full_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, said, stop = [0], list[str](), threading.Event()
    monkeypatch.setattr(OpenStore, "free_bytes", lambda self: free[0])
    with opened(tmp_path / "store") as store:
        want(store)
        thread = threading.Thread(
            target=lambda: refill_forever(
                store.folder, budget_bytes=BUDGET, stop=stop, say=said.append, niceness=0, pause_s=0.01
            )
        )
        thread.start()
        try:
            assert until(lambda: said == ["refill: the disk is full"])
            assert "0 of" in talk(stored(store)).line  # a session is dealt live meanwhile
            free[0] = 1 << 40
            assert until(lambda: "ready" in states(store))
        finally:
            stop.set()
            thread.join(HANG_S)
        assert [text for _, text in store.status().notes][-1] == "refill: the disk is full"


def test_what_is_stopped_in_the_middle_is_given_up(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        want(store)
        stop = threading.Event()
        refill = Refill(store, stop)
        suite = refilling.SUITES["fss"]
        asked = list[int]()

        def deal(document: object, schedule: object, folder: Path, proceed: object) -> int | None:
            def once() -> bool:
                asked.append(1)
                if len(asked) == 2:
                    stop.set()
                return proceed()  # type: ignore[operator]

            return type(suite).deal_bundle(suite, document, schedule, folder, once)  # type: ignore[arg-type]

        suite.deal_bundle = deal  # type: ignore[method-assign]
        try:
            assert refill.step() is Refilled.STOPPED
        finally:
            del suite.deal_bundle
        assert len(asked) == 2
        assert bundle_folders(store) == set()
        assert refill.step() is Refilled.STOPPED


def test_what_cannot_be_dealt_is_said_once_and_left(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        bad = ProgramText.of("fss", {"plan": "none"})
        with store.ledger.transaction() as tx:
            wants.learn(tx, Pair(SERVER_KEY, CLIENT_KEY).id(tx), bad, SCHEDULE, store.now())
        want(store)
        refill = _refill(store)
        assert [refill.step(), refill.step()] == [Refilled.DEALT, Refilled.NOTHING]
        [(_, said)] = store.status().notes
        assert "is not dealt ahead: no description of a model" in said


@pytest.mark.slow
@pytest.mark.e2e
def test_a_refill_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """Real bundles, at random moments of their dealing; then a session is served from one."""
    with opened(tmp_path / "store") as store:
        live = talk(stored(store))
        want(store, sessions=8)
    context = multiprocessing.get_context("spawn")
    for _ in range(KILLS):
        process = context.Process(target=_refill_in_a_process, args=(tmp_path / "store",))
        process.start()
        assert until(lambda: any((tmp_path / "store" / "bundles").iterdir()))
        time.sleep(SystemRandom().draw_bytes(1)[0] / 1000)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(HANG_S)
        with opened(tmp_path / "store") as store:
            store.recover()
            ready = {str(bundle) for (bundle,) in rows(store, "SELECT id FROM bundles WHERE state = 'ready'")}
            assert bundle_folders(store) == ready
            assert "dealing" not in states(store)
            _take_all(store)
    with opened(tmp_path / "store") as store:
        refill = _refill(store)
        while refill.step() is Refilled.DEALT:
            pass
        outcome = talk(stored(store))
        assert "3 of" in outcome.line
        assert all((mine == other).all() for mine, other in zip(outcome.logits, live.logits, strict=True))


def _take_all(store: DealerStore) -> None:
    """So that the next process has something to deal."""
    text, now = ProgramText.of("fss", program().to_document()), store.now()
    pair = Pair(SERVER_KEY, CLIENT_KEY)
    for tokens in (3, 5):
        while (taken := store.bundles.take(pair, text.digest, tokens, since=0.0, now=now)) is not None:
            store.bundles.spend(taken, now)


def _refill_in_a_process(folder: Path) -> None:
    refill_forever(folder, budget_bytes=BUDGET, stop=threading.Event())
