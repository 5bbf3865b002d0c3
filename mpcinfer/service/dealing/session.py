"""One session served from a store: its bundle, its client's quota, and what is learned from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpcinfer.backends.parts import Pass
from mpcinfer.service.dealing import quota, wants
from mpcinfer.service.dealing.bundles import Taken
from mpcinfer.service.dealing.open_store import OpenStore
from mpcinfer.service.dealing.wants import Pair, ProgramText
from mpcinfer.suites.stock import Schedule, Stock
from parties.errors import ConfigError
from parties.wire import Frame

BOOKED_BYTES = 1 << 24
"""What is dealt live is booked whenever it is so much, and at the end: a process that is killed forgets less
than that."""
_MOST_PASSES = 4096


class StockedSession(Stock):
    """A session of a pair.

    No failure of the store ends it: where the ledger cannot be written, nothing is taken, and all is dealt
    live.
    """

    def __init__(self, store: OpenStore, pair: Pair) -> None:
        self._store, self._pair = store, pair
        self._program: ProgramText | None = None
        self._tokens = 0
        self._taken: Taken | None = None
        self._passes: list[Pass] = []
        self._live, self._used, self._unbooked = True, 0, 0

    def admit(self) -> None:
        """Raises AdmissionRefused where the client is over its quota."""
        try:
            self._used = self._store.used_bytes(self._pair.client)
        except ConfigError as error:
            self._store.note(f"what a client had is not known: {error}")
        most = self._store.quota_bytes
        if most is not None and self._used >= most:
            raise self._store.over_quota(self._pair.client, self._used)

    def take(self, suite: str, program: Mapping[str, Any], tokens: int) -> Path | None:
        self._program, self._tokens = ProgramText.of(suite, program), tokens
        store, now = self._store, self._store.now()
        try:
            self._taken = store.bundles.take(
                self._pair, self._program.digest, tokens, since=now - store.expiry_s, now=now
            )
        except ConfigError as error:
            store.note(f"nothing could be taken, a session is dealt for live: {error}")
        if self._taken is None:
            return None
        self._live = False
        self._used += self._taken.bytes
        return self._taken.folder

    def live(self) -> None:
        self._live = True

    def ran(self, run: Pass) -> None:
        if len(self._passes) < _MOST_PASSES:
            self._passes.append(run)

    def report(self, problem: str) -> None:
        self._store.note(problem)

    def sent(self, frame: Frame) -> None:
        """A frame went to a party: counts what is dealt live.

        Raises:
            AdmissionRefused: the client is over its quota now.
        """
        if not self._live:
            return
        self._unbooked += frame.payload_bytes
        if self._unbooked >= BOOKED_BYTES:
            self._book()
        most = self._store.quota_bytes
        if most is not None and self._used + self._unbooked > most:
            self._book()
            raise self._store.over_quota(self._pair.client, self._used + self._unbooked)

    def close(self) -> None:
        """Books what is not booked yet, ends the bundle, and learns; never raises."""
        self._book()
        store, now = self._store, self._store.now()
        try:
            if self._taken is not None:
                store.bundles.spend(self._taken, now)
            seen = Schedule.followed(self._passes)
            if self._program is not None and seen is not None and seen.tokens == self._tokens:
                with store.ledger.transaction() as tx:
                    wants.learn(tx, self._pair.id(tx), self._program, seen, now)
        except ConfigError as error:
            store.note(f"a session could not be noted: {error}")

    def _book(self) -> None:
        if not self._unbooked:
            return
        try:
            with self._store.ledger.transaction() as tx:
                quota.charge(tx, self._pair.client, self._unbooked, self._store.now())
            self._unbooked = 0
            self._used = self._store.used_bytes(self._pair.client)
        except ConfigError as error:
            self._store.note(f"{self._unbooked:,} bytes could not be booked: {error}")
