"""Folders of what is used once: numbered bundles; a party that is killed loses one and uses none twice.

A folder belongs to one party, and has besides its bundles:

    next    number of the first bundle that was never used
    lock    held by the process that uses the folder

`next` goes forward on disk before a byte of a bundle is read, and a bundle's files lose their names before
they are used. Putting back an old copy of a folder would use bundles twice; where one party did, the other's
number is later by more than a crash explains, and nothing is used until the operator has said so
(`mpcinfer skip`).

What loses its name stays on the disk until the disk writes something else there, and may be found by whoever
can read the disk itself. Overwriting it would promise more than it holds on disks that write elsewhere.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from parties.errors import ConfigError, CorrelationExhausted, PeerMismatch
from parties.link import Link
from parties.meter import Phase

MOST_SKIPPED = 1
"""A party that was killed at the wrong moment is so many bundles behind. A claim of more could cost all of
this party's correlations: its operator decides."""
_AGREED_NEXT = "session.correlations"
_NEXT, _LOCK = "next", "lock"


class OneTimeFolder:
    """A party's folder, for one process at a time.

    Args:
        folder: exists.
        count: bundles that it had when it was made.
        command: makes more like these.
        files: of a bundle.

    Raises:
        ConfigError: it is damaged or open to others, or another process uses it.
    """

    def __init__(
        self, folder: Path, count: int, command: str, files: Callable[[int], Iterable[Path]]
    ) -> None:
        self.folder, self._count, self._command, self._files = folder, count, command, files
        if folder.stat().st_mode & 0o077:
            raise ConfigError(f"{folder} is open to others than its owner: chmod 700 {folder}")
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise ConfigError(f"{folder} is in use by another process") from None
        try:
            for gone in range(self.next):  # a crash may have left their names
                self.unlink(gone)
        except ConfigError:
            os.close(self._lock)
            raise

    @property
    def next(self) -> int:
        """The first bundle that was never used.

        Raises:
            ConfigError: the counter cannot be read: nothing is used without it.
        """
        path = self.folder / _NEXT
        if not path.exists():
            return 0
        try:
            value = int(path.read_text())
            if not 0 <= value <= self._count:
                raise ValueError(f"{value} of {self._count}")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} is damaged: {error}; nobody knows what was used") from None
        return value

    def require(self, index: int) -> None:
        """Raises CorrelationExhausted where that bundle was used before, or was never made."""
        if index < self.next:
            raise CorrelationExhausted(
                f"{self.folder}: bundle {index} was used before; the next is {self.next}"
            )
        if index >= self._count:
            raise CorrelationExhausted(
                f"{self.folder} is used up, {self._count} conversations were dealt; for more: {self._command}"
            )

    def skip_to(self, index: int) -> None:
        """Gives up the bundles before one, for ever.

        Raises:
            CorrelationExhausted: bundles from there on were used before, or never made.
        """
        if not self.next <= index <= self._count:
            raise CorrelationExhausted(
                f"{self.folder}: next is bundle {self.next} of {self._count}, {index} cannot be"
            )
        first = self.next
        if first < index:
            replace_file(self.folder / _NEXT, f"{index}\n".encode())
            for gone in range(first, index):
                self.unlink(gone)
            sync_names(self.folder)

    def mark_used(self, index: int) -> None:
        """The counter goes past a bundle, on disk, before it is opened; those before it are lost.

        Raises:
            CorrelationExhausted: it was used before, or there is none of that number.
        """
        self.require(index)
        self.skip_to(index)
        replace_file(self.folder / _NEXT, f"{index + 1}\n".encode())

    def unlink(self, index: int) -> None:
        """Takes the names of a bundle's files away."""
        for path in self._files(index):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Lets other processes use the folder; safe to repeat."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def agree_next(link: Link, folder: OneTimeFolder) -> int:
    """The bundle that both parties use next: the later of both numbers, so that neither uses one twice.

    Raises:
        PeerMismatch: the other party says no number, or one that a crash does not explain.
    """
    mine, meter = folder.next, link.meter
    with meter.phase(Phase.CONTROL), meter.span("session", "control"):
        link.send_document({"next": mine}, _AGREED_NEXT)
        theirs = link.recv_document(_AGREED_NEXT, max_bytes=64).get("next")
    if type(theirs) is not int or theirs < 0:
        raise PeerMismatch(f"the other party's next bundle is {theirs!r}")
    if abs(theirs - mine) > MOST_SKIPPED:
        raise PeerMismatch(_apart(folder.folder, mine, theirs))
    return max(mine, theirs)


def _apart(folder: Path, mine: int, theirs: int) -> str:
    """What the operator should know about two folders that are not where they were together."""
    said = f"the other party's next bundle is {theirs}, that of {folder} is {mine}; "
    if theirs < mine:
        return said + "was an old copy of its folder put back? Its operator can give up those before ours"
    return (
        f"{said}to go on there would give up {theirs - mine} bundles. If you know why, and trust it: "
        f"mpcinfer skip {shlex.quote(str(folder))} --to {theirs}"
    )


def new_folder(folder: Path) -> Path:
    """Makes a folder that only its owner can read.

    Raises:
        ConfigError: it exists and is not empty, or cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty: correlations are dealt into a folder of their own")
    except OSError as error:
        raise ConfigError(f"{folder}: {error}") from None
    return folder


def create_file(path: Path) -> BinaryIO:
    """A new file that only its owner can read."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from None


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file so that, whenever the machine stops, the old or the new content is there.

    Raises:
        ConfigError: it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if os.write(descriptor, content) != len(content):
                raise OSError("the disk is full")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
        sync_names(path.parent)
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from None


def sync_names(folder: Path) -> None:
    """Names that were given or taken away stay so after a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
