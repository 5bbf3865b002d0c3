"""Dealing ahead in the background: what was wanted of late, first for whoever has least in stock."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path

from mpcinfer.service.dealing import wants
from mpcinfer.service.dealing.bundles import Taken
from mpcinfer.service.dealing.open_store import OpenStore
from mpcinfer.service.dealing.wants import Kind
from mpcinfer.suites.registry import SUITES
from parties.errors import ConfigError, MpcInferError

PAUSE_S = 2.0
"""Between two looks at a store that wants nothing, or has no room."""
SPARE_BYTES = 1 << 28
"""Room that is left on the disk, for the ledger and for everybody else."""
NICENESS = 10
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Refilled(Enum):
    """What became of a step."""

    DEALT = "a bundle was dealt"
    NOTHING = "nothing is wanted"
    NO_ROOM = "the budget has no room for what is wanted"
    FULL = "the disk is full"
    STOPPED = "it was stopped"


class Refill:
    """Fills a store, a bundle a step.

    Args:
        stop: gives up the bundle that is being dealt, after the pass at hand.
    """

    def __init__(self, store: OpenStore, stop: threading.Event) -> None:
        self._store, self._stop = store, stop
        self._failed = set[int]()
        self._counted: dict[tuple[str, object], int] = {}

    def step(self) -> Refilled:
        """Deals the bundle that is wanted most and has room.

        Raises:
            ConfigError: the ledger cannot be written.
        """
        self._store.recover()
        outcome = Refilled.NOTHING
        for kind in self._short():
            if self._stop.is_set():
                return Refilled.STOPPED
            try:
                outcome = self._deal(kind)
            except MpcInferError as error:
                if is_full(error):
                    return Refilled.FULL
                self._failed.add(kind.id)
                self._store.note(f"kind {kind.program.digest[:8]} is not dealt ahead: {error}")
                continue
            if outcome is not Refilled.NO_ROOM:
                return outcome
        return outcome

    def _short(self) -> list[Kind]:
        """Kinds of which less is in stock than there should be: first of the pair that has least, and of
        these the kind that has least, and of these the one that was wanted last."""
        with self._store.ledger.transaction() as tx:
            kinds = wants.wanted(tx, self._store.now())
        stock: dict[int, int] = {}
        for kind in kinds:
            stock[kind.pair] = stock.get(kind.pair, 0) + kind.ready
        short = [kind for kind in kinds if kind.ready < kind.target and kind.id not in self._failed]
        return sorted(short, key=lambda kind: (stock[kind.pair], kind.ready / kind.target, -kind.wanted))

    def _deal(self, kind: Kind) -> Refilled:
        store, suite = self._store, SUITES[kind.program.suite]
        most = self._most_bytes(kind)
        if store.free_bytes() < most + SPARE_BYTES:
            return Refilled.FULL
        reserved = store.bundles.reserve(kind, most, store.budget_bytes, store.now())
        if reserved is None:
            return Refilled.NO_ROOM
        try:
            size = suite.deal_bundle(
                kind.program.program(), kind.schedule, reserved.folder, lambda: not self._stop.is_set()
            )
            if size is not None:
                store.bundles.ready(reserved, size, store.now())
        except BaseException:
            self._give_up(reserved)
            raise
        if size is None:
            self._give_up(reserved)
            return Refilled.STOPPED
        with store.ledger.transaction() as tx:
            tx.execute("INSERT OR REPLACE INTO settings VALUES ('refilled', ?)", (store.now(),))
        return Refilled.DEALT

    def _give_up(self, reserved: Taken) -> None:
        with suppress(ConfigError):  # the row goes when this process has: see `recover`
            self._store.bundles.give_up(reserved)

    def _most_bytes(self, kind: Kind) -> int:
        """What the next bundle of a kind takes, at most."""
        known = self._store.bundles.known_bytes(kind)
        if known is not None:
            return known
        key = (kind.program.digest, kind.schedule)
        if key not in self._counted:
            suite = SUITES[kind.program.suite]
            self._counted[key] = suite.most_bundle_bytes(kind.program.program(), kind.schedule)
        return self._counted[key]


def refill_forever(
    folder: Path,
    *,
    budget_bytes: int,
    quota_bytes: int | None = None,
    expiry_s: float = 7 * 86_400.0,
    stop: threading.Event,
    say: Callable[[str], None] = lambda text: None,
    niceness: int = NICENESS,
    pause_s: float = PAUSE_S,
) -> None:
    """Fills a store until it is stopped; for a process of its own, whose priority it lowers.

    On a full disk it says so, removes what is half written, and goes on when there is room again.

    Args:
        folder, budget_bytes, quota_bytes, expiry_s, say: as for `OpenStore.open`.

    Raises:
        ConfigError: the store cannot be opened.
    """
    os.nice(niceness)
    with OpenStore.open(
        folder, budget_bytes=budget_bytes, quota_bytes=quota_bytes, expiry_s=expiry_s, say=say
    ) as store:
        refill, before = Refill(store, stop), Refilled.NOTHING
        while not stop.is_set():
            try:
                outcome = refill.step()
            except ConfigError as error:  # of the ledger
                outcome = Refilled.FULL
                say(f"refill: {error}")
            if outcome is not before and Refilled.FULL in (outcome, before):
                store.note(f"refill: {outcome.value}")
            before = outcome
            if outcome is not Refilled.DEALT:
                stop.wait(pause_s)


def is_full(error: BaseException) -> bool:
    """Whether a disk without room is behind an error."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _FULL
