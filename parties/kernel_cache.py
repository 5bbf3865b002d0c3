"""Where compiled kernels are kept: a folder of the user's own, shared by processes and virtual environments.

What is in it is executed, and read by unpickling, as numba does. So it must be the user's own and closed to
everybody else, or the system's and not writable by others; anything else is refused.

    MPCINFER_CACHE_DIR   moves it
    otherwise            the platform's folder for caches: XDG_CACHE_HOME or ~/.cache, ~/Library/Caches,
                         %LOCALAPPDATA%; in it `mpcinfer`

Kernels lie under `kernels/KEY`, where the key is a digest of the sources that they are compiled from, the
versions of Python, numba and llvmlite, and the processor and features compiled for.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from parties.errors import ConfigError

VARIABLE = "MPCINFER_CACHE_DIR"
_APPLICATION = "mpcinfer"
_ROOT = 0


def cache_root() -> Path:
    """The folder of everything that this project caches for a user; it need not exist."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / _APPLICATION
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / _APPLICATION / "Cache"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification: a path that is not absolute is to be ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / _APPLICATION


def own_folder(folder: Path) -> Path:
    """A folder whose contents may be executed, made with mode 0700 where it is not there.

    Raises:
        ConfigError: it is a link, belongs to somebody else, or others can write it or, where it is the
            user's own, read it; or a folder above it lets others replace it. The message says which.
        OSError: it is not there and cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix":
        _require_own(folder)
        _require_out_of_reach(folder)
    return folder


def _require_own(folder: Path) -> None:
    found, user = folder.lstat(), os.geteuid()
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        raise _refusal(folder, "it is no folder")
    if found.st_uid not in (user, _ROOT):
        raise _refusal(folder, f"it belongs to user {found.st_uid}, not to {user}")
    open_to_others = mode & (0o022 if found.st_uid == _ROOT else 0o077)
    if open_to_others:
        raise _refusal(folder, f"it is open to others (mode {mode:04o}); run: chmod 700 {folder}")


def _require_out_of_reach(folder: Path) -> None:
    """Nobody but the user and root can rename or replace the folder, or one that it lies in."""
    for above in reversed(folder.parents):
        found = above.stat()
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid not in (os.geteuid(), _ROOT):
            raise _refusal(folder, f"{above} belongs to user {found.st_uid}")
        if mode & 0o022 and not mode & stat.S_ISVTX:
            raise _refusal(folder, f"others can write {above} (mode {mode:04o})")
        if not mode & 0o011:
            return  # nobody else gets any further


def _refusal(folder: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"compiled kernels cannot be kept in {folder}: {reason}. What is there is executed, so it must be "
        f"yours alone; {VARIABLE} names another folder"
    )


class KernelFolder:
    """The folder for one key.

    Attributes:
        path: None where no folder can be used.
        writable: False where a folder can be read alone.
        problem: why kernels of this process are not kept; empty where they are.
    """

    def __init__(self, root: Path, key: str) -> None:
        self.path: Path | None = root / "kernels" / key
        self.writable, self.problem = True, ""
        try:
            for folder in (root, self.path.parent, self.path):
                own_folder(folder)
            tempfile.TemporaryFile(dir=self.path).close()
        except OSError as error:
            self.writable = False
            self.problem = f"{error.strerror} ({self.path})"
            if not self.path.is_dir():
                self.path = None


@lru_cache(maxsize=16)
def digest_of_sources(*folders: Path) -> str:
    """A digest of every Python file directly in these folders."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
