"""Who may connect: a folder of `NAME.public` files, read again when it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from parties.errors import ConfigError
from parties.keys import load_public

_MOST_KEYS = 10_000
_Seen = tuple[tuple[str, int, int], ...]


class AllowList:
    """Named public keys.

    Args:
        place: a folder of `NAME.public` files, or one such file.
        say: is told of files that cannot be used, and of changes.

    Raises:
        ConfigError: no such folder or file, or not one key in it.
    """

    def __init__(self, place: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self._place, self._say = place, say
        self._seen, self._names = self._look(), dict[str, str]()
        self._names = self._read()
        if not self._names:
            raise ConfigError(f"{place}: nobody may connect: no NAME.public file with a key")

    @property
    def names(self) -> Mapping[str, str]:
        """Names by public key in Z85."""
        return self._names

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def refresh(self) -> set[str]:
        """Reads again what changed on disk; the keys that may not connect any more.

        A file that cannot be read is said and left out; a folder that cannot be read leaves the list as it
        was, so that a moment's trouble of a disk locks nobody out.
        """
        try:
            seen = self._look()
        except ConfigError as error:
            self._say(f"allow list: {error}; it stays as it was")
            return set()
        if seen == self._seen:
            return set()
        before, self._seen = self._names, seen
        self._names = self._read()
        added, gone = self._names.keys() - before.keys(), before.keys() - self._names.keys()
        named = [f"+{self._names[key]}" for key in added] + [f"-{before[key]}" for key in gone]
        self._say(f"allow list: {len(self._names)} keys; {', '.join(sorted(named)) or 'the same'}")
        return set(gone)

    def _files(self) -> list[Path]:
        if self._place.is_dir():
            return sorted(self._place.glob("*.public"))[:_MOST_KEYS]
        return [self._place]

    def _look(self) -> _Seen:
        """What tells whether anything changed."""
        try:
            return tuple(
                (path.name, (stat := path.stat()).st_mtime_ns, stat.st_size) for path in self._files()
            )
        except OSError as error:
            raise ConfigError(f"cannot read the key file or folder {self._place}: {error.strerror}") from None

    def _read(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for path in self._files():
            try:
                key = load_public(path)
            except ConfigError as error:
                self._say(f"allow list: {error}; left out")
                continue
            if key in names:
                self._say(f"allow list: {path.name} has the key of {names[key]}, whose name it keeps")
            names.setdefault(key, path.stem)
        return names
