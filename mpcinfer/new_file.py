"""Files that a long work will write: whether they can be, before it begins."""

from __future__ import annotations

import os
from pathlib import Path

from parties.errors import ConfigError


def require_writable(path: Path, option: str = "") -> None:
    """Raises ConfigError where a file cannot be written: its folder is not there or closed, or it is one."""
    named = f"{option} {path}".strip()
    if path.is_dir():
        raise ConfigError(f"{named}: a folder; a file is wanted")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{named}: there is no folder {path.absolute().parent}")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ConfigError(f"{named}: cannot be written")


def require_new_file(path: Path, option: str = "") -> None:
    """The same; and it is not there yet."""
    if path.exists():
        raise ConfigError(f"{option} {path}".strip() + ": is there already, and is not overwritten")
    require_writable(path, option)


def require_folder(path: Path, option: str = "") -> None:
    """Raises ConfigError where a folder is no folder, or cannot be made."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f"{option} {path}".strip() + f": no folder, {there} is in the way or closed")
