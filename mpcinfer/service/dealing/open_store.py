"""A dealer's store: correlations dealt ahead of time, for many pairs, each used once.

A folder, its owner's alone, on a disk of this machine:

    ledger.sqlite      which bundles there are, for whom, and what became of each
    bundles/ID/        a bundle's seeds and correlations
    owners/ID          locked by a process that uses the store, as long as it lives

Whoever reads the folder can decrypt the sessions that its bundles are for. An old copy of it, put back, would
use bundles twice: it must never be restored from a backup.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mpcinfer.service.dealing import quota
from mpcinfer.service.dealing.bundles import Bundles, Recovered
from mpcinfer.service.dealing.ledger import Ledger
from mpcinfer.service.dealing.owners import Owner
from parties.errors import AdmissionRefused, ConfigError

LEDGER = "ledger.sqlite"
_BUNDLES, _OWNERS = "bundles", "owners"
_MOST_NOTES = 200
_S = TypeVar("_S", bound="OpenStore")


def _quiet(text: str) -> None:
    """Tells nobody."""


class OpenStore:
    """A store in use by this process; any number of processes use one at once. See `open`."""

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        owner: Owner,
        *,
        budget_bytes: int,
        quota_bytes: int | None,
        expiry_s: float,
        say: Callable[[str], None],
    ) -> None:
        self.folder, self.ledger, self._owner, self._say = folder, ledger, owner, say
        self.budget_bytes, self.quota_bytes, self.expiry_s = budget_bytes, quota_bytes, expiry_s
        self.bundles = Bundles(ledger, folder / _BUNDLES, folder / _OWNERS, owner)

    @classmethod
    def open(
        cls: type[_S],
        folder: Path,
        *,
        budget_bytes: int,
        quota_bytes: int | None = None,
        expiry_s: float = 7 * 86_400.0,
        say: Callable[[str], None] = _quiet,
    ) -> _S:
        """Opens a store, or makes one.

        Args:
            budget_bytes: the most that bundles take on disk, those in use with them; 0 stores nothing.
            quota_bytes: of correlations a client may have in 24 hours, stored or live; None for any number.
            expiry_s: how old a bundle may get, and how long a kind of session is remembered.
            say: is told of what the operator should know.

        Raises:
            ConfigError: the folder cannot be used or is open to others; its ledger is damaged or of another
                version.
        """
        if budget_bytes < 0 or expiry_s <= 0 or (quota_bytes is not None and quota_bytes < 1):
            raise ConfigError("a budget is at least 0, a quota at least 1 byte, and an age more than 0 s")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o077:
                raise ConfigError(f"{folder} is open to others than its owner: chmod 700 {folder}")
            for name in (_BUNDLES, _OWNERS):
                (folder / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder}: {error}") from error
        ledger = Ledger(folder / LEDGER)
        try:
            with ledger.transaction() as tx:
                owner = Owner(folder / _OWNERS)
                terms = {"budget": budget_bytes, "quota": quota_bytes, "expiry": expiry_s}
                if dict(tx.execute("SELECT name, value FROM settings WHERE name != 'refilled'")) != terms:
                    tx.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", list(terms.items()))
        except BaseException:
            ledger.close()
            raise
        return cls(
            folder,
            ledger,
            owner,
            budget_bytes=budget_bytes,
            quota_bytes=quota_bytes,
            expiry_s=expiry_s,
            say=say,
        )

    def require_quota(self, client_key: str) -> None:
        """Raises AdmissionRefused where a client is over its quota; for a front, before a session."""
        used = self.used_bytes(client_key)
        if self.quota_bytes is not None and used >= self.quota_bytes:
            raise self.over_quota(client_key, used)

    def used_bytes(self, client_key: str) -> int:
        """What a client had in the last 24 hours, as far as it is booked."""
        with self.ledger.transaction() as tx:
            return quota.used_bytes(tx, client_key, self.now())

    def over_quota(self, client_key: str, used: int) -> AdmissionRefused:
        """The error for a client that had so many bytes."""
        assert self.quota_bytes is not None
        with self.ledger.transaction() as tx:
            retry = quota.retry_s(tx, client_key, self.quota_bytes, self.now())
        return quota.refused(used, self.quota_bytes, retry)

    def recover(self) -> Recovered:
        """Gives up what processes had that died, and what is too old; at the start, and now and then.

        Raises:
            ConfigError: the ledger cannot be written.
        """
        now = self.now()
        recovered = self.bundles.recover(since=now - self.expiry_s, now=now)
        if recovered.lost:
            self.note(f"{recovered.lost} bundles of processes that ended in the middle are given up")
        return recovered

    def note(self, text: str) -> None:
        """Keeps something for `mpcinfer dealer status --store FOLDER`, and says it; never raises."""
        self._say(text)
        with suppress(ConfigError), self.ledger.transaction() as tx:
            tx.execute("INSERT INTO notes VALUES (?, ?)", (self.now(), text))
            tx.execute(
                "DELETE FROM notes WHERE rowid NOT IN (SELECT rowid FROM notes ORDER BY rowid DESC LIMIT ?)",
                (_MOST_NOTES,),
            )

    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(self.folder).free

    def now(self) -> float:
        """Seconds since 1970, by the clock of the machine. No bundle's use depends on it, only its age."""
        return time.time()

    def close(self) -> None:
        """This process uses the store no more; safe to repeat."""
        self._owner.close()
        self.ledger.close()

    def __enter__(self: _S) -> _S:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
