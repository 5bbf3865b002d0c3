"""How many bytes of correlations a client had of late."""

from __future__ import annotations

import sqlite3

from parties.errors import AdmissionRefused

WINDOW_HOURS = 24
_HOUR_S = 3600.0


def used_bytes(tx: sqlite3.Connection, client: str, now: float) -> int:
    """Bytes of the last 24 hours, in whole hours; those that a clock put into the future count, too."""
    [used] = tx.execute(
        "SELECT coalesce(sum(bytes), 0) FROM quota WHERE client = ? AND hour > ?", (client, _first(now))
    ).fetchone()
    return int(used)


def charge(tx: sqlite3.Connection, client: str, size_bytes: int, now: float) -> None:
    """Books bytes; what is older than the window is forgotten."""
    tx.execute("DELETE FROM quota WHERE hour <= ?", (_first(now),))
    tx.execute(
        "INSERT INTO quota VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
        (client, int(now // _HOUR_S), size_bytes),
    )


def retry_s(tx: sqlite3.Connection, client: str, quota_bytes: int, now: float) -> float:
    """When the client will be below its quota, if it has nothing until then."""
    left = used_bytes(tx, client, now)
    hours = tx.execute(
        "SELECT hour, bytes FROM quota WHERE client = ? AND hour > ? ORDER BY hour", (client, _first(now))
    )
    for hour, size in hours:
        left -= int(size)
        if left < quota_bytes:
            return max((int(hour) + WINDOW_HOURS) * _HOUR_S - now, 1.0)
    return 1.0


def refused(used: int, quota_bytes: int, retry: float | None) -> AdmissionRefused:
    """The error of a client over its quota."""
    return AdmissionRefused(
        "quota",
        f"{used:,} bytes of correlations in {WINDOW_HOURS} hours, the quota is {quota_bytes:,}",
        retry,
    )


def _first(now: float) -> int:
    """The last hour that counts no more."""
    return int(now // _HOUR_S) - WINDOW_HOURS
