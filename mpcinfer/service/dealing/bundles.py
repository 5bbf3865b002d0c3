"""The bundles of a store: rows of the ledger, and a folder each while there is something in it.

    dealing -> ready -> taken -> spent      how it should go
                 |-> expired                too old, or wanted no more
    dealing, taken -> lost                  whoever had it died: it is never used again

A bundle is `taken` on disk before its folder is opened. Folders whose row says that nobody may use them are
removed by `recover`, whoever left them.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mpcinfer.service.dealing import quota
from mpcinfer.service.dealing.ledger import Ledger
from mpcinfer.service.dealing.owners import Owner, living
from mpcinfer.service.dealing.wants import Kind, Pair, forget
from parties.randomness import SystemRandom

HISTORY_S = 30 * 86_400.0
"""Rows of bundles that are gone are kept so long."""
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Taken:
    """A bundle that is a session's alone."""

    id: str
    folder: Path
    bytes: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """What there was to clean up.

    Attributes:
        lost: bundles of processes that died.
        expired: bundles that were too old, or whose files are gone.
        removed: folders that were nobody's.
    """

    lost: int = 0
    expired: int = 0
    removed: int = 0


class Bundles:
    """Bundles of a store, for one process.

    Args:
        folder: of the bundles' folders; exists.
        owners: the folder of all owners' files.
        owner: this process.
    """

    def __init__(self, ledger: Ledger, folder: Path, owners: Path, owner: Owner) -> None:
        self._ledger, self._folder, self._owners, self._owner = ledger, folder, owners, owner

    def take(self, pair: Pair, program: str, tokens: int, *, since: float, now: float) -> Taken | None:
        """The oldest ready bundle of a kind, from now on the caller's alone; None where there is none. All of
        it counts towards the client's quota.

        Args:
            program: its digest.
            since: when it must have been ready, at the earliest.

        Raises:
            ConfigError: the ledger cannot be written: nothing was taken.
        """
        with self._ledger.transaction() as tx:
            found = tx.execute(
                "SELECT b.id, b.bytes FROM bundles b JOIN kinds k ON k.id = b.kind "
                "WHERE k.pair = ? AND k.program = ? AND k.tokens = ? AND b.state = 'ready' AND b.ready >= ? "
                "ORDER BY b.ready LIMIT 1",
                (pair.id(tx), program, tokens, since),
            ).fetchone()
            if found is None:
                return None
            bundle, size = str(found[0]), int(found[1])
            tx.execute(
                "UPDATE bundles SET state = 'taken', owner = ? WHERE id = ?", (self._owner.name, bundle)
            )
            tx.execute("INSERT INTO uses VALUES (?, ?, ?)", (bundle, now, self._owner.name))
            quota.charge(tx, pair.client, size, now)
        return Taken(bundle, self._folder / bundle, size)

    def spend(self, taken: Taken, now: float) -> None:
        """The session with a bundle is over."""
        shutil.rmtree(taken.folder, ignore_errors=True)
        with self._ledger.transaction() as tx:
            tx.execute("UPDATE bundles SET state = 'spent', ended = ? WHERE id = ?", (now, taken.id))

    def reserve(self, kind: Kind, size: int, budget_bytes: int, now: float) -> Taken | None:
        """Room for a bundle that is dealt next, and its folder; None where the budget, or this pair's part of
        it, has no such room.

        Args:
            size: the most bytes that it takes.
        """
        with self._ledger.transaction() as tx:
            held = held_bytes(tx)
            [pairs] = tx.execute("SELECT count(DISTINCT pair) FROM kinds").fetchone()
            share = budget_bytes // max(int(pairs), 1)
            if sum(held.values()) + size > budget_bytes or held.get(kind.pair, 0) + size > share:
                return None
            bundle = SystemRandom().draw_bytes(_ID_BYTES).hex()
            schedule = kind.schedule
            tx.execute(
                "INSERT INTO bundles VALUES (?, ?, ?, ?, ?, ?, ?, 'dealing', ?, ?, NULL, NULL)",
                (
                    *(bundle, kind.id, kind.pair, schedule.passes, schedule.then_tokens, schedule.then_rows),
                    *(size, self._owner.name, now),
                ),
            )
            folder = self._folder / bundle
            folder.mkdir(mode=0o700)
        return Taken(bundle, folder, size)

    def ready(self, dealt: Taken, size: int, now: float) -> None:
        """A bundle is complete and on disk, and takes so many bytes."""
        with self._ledger.transaction() as tx:
            tx.execute(
                "UPDATE bundles SET state = 'ready', bytes = ?, ready = ? WHERE id = ?",
                (size, now, dealt.id),
            )

    def give_up(self, dealt: Taken) -> None:
        """A bundle is not dealt after all; nothing of it is left."""
        shutil.rmtree(dealt.folder, ignore_errors=True)
        with self._ledger.transaction() as tx:
            tx.execute("DELETE FROM bundles WHERE id = ? AND state = 'dealing'", (dealt.id,))

    def known_bytes(self, kind: Kind) -> int | None:
        """What a bundle like the next of a kind takes, where one was dealt."""
        schedule = kind.schedule
        with self._ledger.transaction() as tx:
            found = tx.execute(
                "SELECT bytes FROM bundles WHERE kind = ? AND passes = ? AND then_tokens = ? AND "
                "then_rows = ? AND ready IS NOT NULL LIMIT 1",
                (kind.id, schedule.passes, schedule.then_tokens, schedule.then_rows),
            ).fetchone()
        return None if found is None else int(found[0])

    def recover(self, *, since: float, now: float) -> Recovered:
        """Gives up what processes had that died, and what is too old, and removes what is nobody's.

        Args:
            since: when a bundle must have been ready, and its kind wanted, to be kept.

        Raises:
            ConfigError: the ledger cannot be written.
        """
        with self._ledger.transaction() as tx:
            alive = living(self._owners)
            lost = [
                str(bundle)
                for bundle, owner in tx.execute(
                    "SELECT id, owner FROM bundles WHERE state IN ('dealing', 'taken')"
                ).fetchall()
                if owner not in alive
            ]
            tx.executemany(
                "UPDATE bundles SET state = 'lost', ended = ? WHERE id = ?", [(now, each) for each in lost]
            )
            for (kind,) in tx.execute("SELECT id FROM kinds WHERE wanted < ?", (since,)).fetchall():
                forget(tx, int(kind), now)
            folders = {path.name for path in self._folder.iterdir()}
            stale = [
                str(bundle)
                for bundle, ready in tx.execute(
                    "SELECT id, ready FROM bundles WHERE state = 'ready'"
                ).fetchall()
                if ready < since or bundle not in folders
            ]
            tx.executemany(
                "UPDATE bundles SET state = 'expired', ended = ? WHERE id = ?",
                [(now, each) for each in stale],
            )
            _forget_old(tx, now)
            kept = {
                str(bundle)
                for (bundle,) in tx.execute(
                    "SELECT id FROM bundles WHERE state IN ('dealing', 'ready', 'taken')"
                )
            }
        # Committed: nobody takes these any more, and an id is never given twice.
        gone = folders - kept
        for name in gone:
            shutil.rmtree(self._folder / name, ignore_errors=True)
        return Recovered(len(lost), len(stale), len(gone))


def held_bytes(tx: sqlite3.Connection) -> Mapping[int, int]:
    """What bundles that are there take on disk, or will, by pair."""
    rows = tx.execute(
        "SELECT pair, sum(bytes) FROM bundles WHERE state IN ('dealing', 'ready', 'taken') GROUP BY pair"
    ).fetchall()
    return {int(pair): int(size) for pair, size in rows}


def _forget_old(tx: sqlite3.Connection, now: float) -> None:
    tx.execute(
        "DELETE FROM bundles WHERE state IN ('spent', 'expired', 'lost') AND ended < ?", (now - HISTORY_S,)
    )
    tx.execute("DELETE FROM uses WHERE at < ?", (now - HISTORY_S,))
    tx.execute("DELETE FROM sessions WHERE at < ?", (now - HISTORY_S,))
    tx.execute("DELETE FROM notes WHERE at < ?", (now - HISTORY_S,))
