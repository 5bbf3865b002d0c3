"""What a service has on this machine: processes, sockets and files, as the kernel lists them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LISTENING, CONNECTED = "0A", "01"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_SHARED = Path("/dev/shm")


def marked(marker: str) -> dict[int, str]:
    """Living processes with an environment variable `NAME=value`: their command lines by id."""
    result: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and marker.encode() in (entry / "environ").read_bytes().split(b"\0"):
                result[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return result


def children(parent: int) -> dict[int, str]:
    """Processes that it started and that still exist, the dead that it has not noticed included: states by
    id, `Z` for the dead."""
    result: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal():
                state, its_parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(its_parent) == parent:
                    result[int(entry.name)] = state
    return result


def asleep(pid: int) -> bool:
    """Whether none of its threads runs, or would if there were a free core."""
    try:
        states = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return False
    return all(state.rpartition(")")[2].split()[0] == "S" for state in states)


def command_line(pid: int) -> str:
    """Empty once it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def name(pid: int) -> str:
    """As the kernel lists it; empty once it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    return ""


def ports(pid: int, state: str) -> set[int]:
    """This process's own ports of TCP sockets in a state."""
    inodes = set[str]()
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                inodes.add(os.readlink(link))
    found = set[int]()
    for table in _TABLES:
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == state and f"socket:[{words[9]}]" in inodes:
                    found.add(int(words[1].rpartition(":")[2], 16))
    return found


def listened_at(wanted: Iterable[int]) -> set[int]:
    """Those of these ports at which anybody on this machine listens."""
    found = set[int]()
    for table in _TABLES:
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == LISTENING:
                    found.add(int(words[1].rpartition(":")[2], 16))
    return found & set(wanted)


def files(*folders: Path) -> set[Path]:
    """All files under folders, and those in the memory that processes share by name."""
    found = {path for folder in folders for path in folder.rglob("*") if not path.is_dir()}
    return found | (set(_SHARED.iterdir()) if _SHARED.is_dir() else set())
