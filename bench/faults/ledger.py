"""What the ledger of a dealer's store says about what was used: read without changing it.

The only file here that knows the ledger's tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

LEDGER = "ledger.sqlite"


def store_options(folder: Path) -> list[str]:
    """Of `mpcinfer dealer`, for a store in a folder."""
    return ["--store", str(folder), "--disk-gb", "1"]


def used_twice(store: Path) -> list[str]:
    """Bundles that more than one session was given; never any."""
    return _names(store, "SELECT bundle FROM uses GROUP BY bundle HAVING count(*) > 1")


def unended(store: Path) -> list[str]:
    """Bundles that a session has: none where no session runs."""
    return _names(store, "SELECT id FROM bundles WHERE state = 'taken'")


def used(store: Path) -> int:
    """How many bundles were given to a session."""
    return len(_names(store, "SELECT bundle FROM uses"))


def _names(store: Path, question: str, values: Sequence[object] = ()) -> list[str]:
    with closing(sqlite3.connect(f"file:{store / LEDGER}?mode=ro", uri=True, timeout=30.0)) as connection:
        return [str(row[0]) for row in connection.execute(question, values)]
