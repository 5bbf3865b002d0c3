"""The ledger of a dealer's store: what was dealt, for whom, and what became of it, in SQLite.

What a transaction committed is on disk (write-ahead log, synchronous=FULL). No seed and no correlation is in
it: these are in the bundles' files.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from parties.errors import ConfigError

VERSION = 1
_BUSY_S = 30.0
_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value REAL);
CREATE TABLE pairs (
    id INTEGER PRIMARY KEY, server TEXT NOT NULL, client TEXT NOT NULL, name TEXT NOT NULL,
    UNIQUE (server, client)
);
CREATE TABLE programs (digest TEXT PRIMARY KEY, suite TEXT NOT NULL, document TEXT NOT NULL);
CREATE TABLE kinds (
    id INTEGER PRIMARY KEY, pair INTEGER NOT NULL, program TEXT NOT NULL, tokens INTEGER NOT NULL,
    wanted REAL NOT NULL, UNIQUE (pair, program, tokens)
);
CREATE TABLE sessions (
    kind INTEGER NOT NULL, at REAL NOT NULL, passes INTEGER NOT NULL,
    then_tokens INTEGER NOT NULL, then_rows INTEGER NOT NULL
);
CREATE INDEX sessions_of_kind ON sessions (kind, at);
CREATE TABLE bundles (
    id TEXT PRIMARY KEY, kind INTEGER NOT NULL, pair INTEGER NOT NULL, passes INTEGER NOT NULL,
    then_tokens INTEGER NOT NULL, then_rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('dealing', 'ready', 'taken', 'spent', 'expired', 'lost')),
    owner TEXT NOT NULL, begun REAL NOT NULL, ready REAL, ended REAL
);
CREATE INDEX bundles_in_state ON bundles (state, kind);
CREATE TABLE uses (bundle TEXT NOT NULL, at REAL NOT NULL, owner TEXT NOT NULL);
CREATE TABLE quota (
    client TEXT NOT NULL, hour INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (client, hour)
);
CREATE TABLE notes (at REAL NOT NULL, text TEXT NOT NULL);
CREATE TRIGGER bundles_go_one_way BEFORE UPDATE OF state ON bundles
WHEN NOT (
    (OLD.state = 'dealing' AND NEW.state IN ('ready', 'lost'))
    OR (OLD.state = 'ready' AND NEW.state IN ('taken', 'expired'))
    OR (OLD.state = 'taken' AND NEW.state IN ('spent', 'lost'))
)
BEGIN SELECT RAISE(ABORT, 'a bundle goes from dealing to ready to taken to spent, never back'); END;
"""


class Ledger:
    """A ledger, for any number of processes and threads at once.

    Args:
        path: of its file; its folder exists and is its owner's alone.
        create: makes it where there is none.

    Raises:
        ConfigError: there is none, it is damaged, or of another version.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self._path, self._lock = path, threading.Lock()
        if not create and not path.exists():
            raise ConfigError(f"{path.parent} is no store of a dealer")
        try:
            with _alone(path.with_name("opening")):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self._connection = self._opened()
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{path}: {error}; nobody knows what was used") from error

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            found = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if found != "ok":
                raise ConfigError(f"{self._path} is damaged: {found}; nobody knows what was used")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
            if version == 0 and empty:
                connection.executescript(
                    f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"
                )
            elif version != VERSION:
                raise ConfigError(f"{self._path} is a ledger of version {version}, this is {VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """What is written within is on disk when the block ends, all of it, or none where it raises. Nobody
        else writes meanwhile.

        Raises:
            ConfigError: it cannot be written; a full disk, for example.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                raise ConfigError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Safe to repeat."""
        self._connection.close()


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """One process at a time is within the block."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
