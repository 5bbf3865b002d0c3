"""Which processes that use a store are still there: each holds the lock of a file, which ends with it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from parties.randomness import SystemRandom

_NAME_BYTES = 16


class Owner:
    """A process that uses a store, or a part of one; made and asked for within a transaction of the ledger.

    Args:
        folder: of all owners' files; exists.
    """

    def __init__(self, folder: Path) -> None:
        self.name = SystemRandom().draw_bytes(_NAME_BYTES).hex()
        self._path = folder / self.name
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """It uses the store no more; safe to repeat."""
        if self._lock >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1


def living(folder: Path) -> set[str]:
    """The names of those that are there. The files of the others are removed."""
    result = set[str]()
    for path in folder.iterdir():
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            result.add(path.name)
        finally:
            os.close(descriptor)
    return result
