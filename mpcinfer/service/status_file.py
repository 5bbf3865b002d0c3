"""Where status documents lie: a file a service, in a folder that is the user's own."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from mpcinfer.service.status import ServiceStatus
from parties.errors import ConfigError

ROLES = ("server", "dealer", "proxy")
VARIABLE = "MPCINFER_RUNTIME_DIR"
_SYSTEMD = "RUNTIME_DIRECTORY"
_DESKTOP = "XDG_RUNTIME_DIR"
_MOST_BYTES = 1 << 16
_SUFFIX = ".status.json"


def runtime_folder(given: Path | None = None) -> Path:
    """The folder of status documents; it need not exist.

    In this order: the one given, that of `MPCINFER_RUNTIME_DIR`, that of systemd's `RuntimeDirectory=`,
    `mpcinfer` in the user's own of the desktop, and `mpcinfer-UID` in the folder for temporary files.
    """
    for chosen in (given, os.environ.get(VARIABLE), os.environ.get(_SYSTEMD, "").partition(":")[0]):
        if chosen:
            return Path(chosen).absolute()
    desktop = os.environ.get(_DESKTOP, "")
    if Path(desktop).is_absolute():
        return Path(desktop) / "mpcinfer"
    return Path(tempfile.gettempdir()) / f"mpcinfer-{os.getuid()}"


class StatusFile:
    """The status document of one service.

    Args:
        role: server, dealer or proxy.
        name: tells it from others of that role, such as the port it listens at.
        folder: where; by default `runtime_folder()`.

    Raises:
        ConfigError: a role or a name that there is not.
    """

    def __init__(self, role: str, name: str, folder: Path | None = None) -> None:
        if role not in ROLES:
            raise ConfigError(f"a service is one of {', '.join(ROLES)}, got {role[:40]!r}")
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name):
            raise ConfigError(f"a service's name has letters, digits, '_', '.' and '-', got {name[:80]!r}")
        self._folder = folder if folder is not None else runtime_folder()
        self.path = self._folder / f"{role}-{name}{_SUFFIX}"

    def write(self, status: ServiceStatus) -> None:
        """Replaces the document in one step: who reads finds the old one or the new one, whole.

        The folder is made where it is not there, closed to everybody else.

        Raises:
            ConfigError: it cannot be written, or the folder belongs to somebody else.
        """
        try:
            _own_folder(self._folder)
            beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            beside.write_text(status.now().to_json(), encoding="utf-8")
            beside.replace(self.path)
        except OSError as error:
            raise ConfigError(f"the status cannot be written to {self.path}: {error.strerror}") from error

    def read(self) -> ServiceStatus | None:
        """The document; None where there is none.

        Raises:
            ConfigError: it cannot be read, or is no status document.
        """
        try:
            with self.path.open("rb") as file:
                text = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"the status cannot be read from {self.path}: {error.strerror}") from error
        return ServiceStatus.from_json(text, str(self.path))

    def remove(self) -> None:
        """Takes the document away; safe to repeat."""
        with suppress(OSError):
            self.path.unlink()


def status_files(folder: Path, role: str | None = None) -> list[StatusFile]:
    """The documents in a folder, of one role or of all; none where there is no such folder."""
    found: list[StatusFile] = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        its_role, _, name = path.name.removesuffix(_SUFFIX).partition("-")
        if its_role in ROLES and role in (None, its_role) and name:
            found.append(StatusFile(its_role, name, folder))
    return found


def _own_folder(folder: Path) -> None:
    """Makes the folder where it is not there; raises ConfigError where others could put files into it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ConfigError(
            f"{folder} is not this user's own, or others can write it: --runtime-dir names another"
        )
