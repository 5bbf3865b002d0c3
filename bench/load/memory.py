"""Memory of a service's processes while it runs, as Linux accounts it (`/proc/PID/smaps_rollup`)."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mpcinfer.service.forking import WORKER
from mpcinfer.service.process_memory import ProcessMemory
from parties.errors import ConfigError

_EVERY_S = 0.5
_KINDS = {"serving_worker": "server worker", "dealing_worker": "dealer worker"}
_FORK_SERVERS = {"serving_worker": "server fork server", "dealing_worker": "dealer fork server"}


@dataclass(slots=True)
class Peak:
    """The most of one kind of process, each number for itself.

    Attributes:
        processes: at once.
        proportional, private, shared: bytes of the largest process.
        together: proportional bytes of all of the kind at once.
    """

    processes: int = 0
    proportional: int = 0
    private: int = 0
    shared: int = 0
    together: int = 0


@dataclass(slots=True)
class Peaks:
    """Of all kinds.

    Attributes:
        kinds: by what a process is: `server front`, `server worker`, and so on.
        together: proportional bytes of all processes of the service at once.
    """

    kinds: dict[str, Peak] = field(default_factory=dict[str, Peak])
    together: int = 0

    def take(self, seen: Mapping[str, list[ProcessMemory]]) -> None:
        """One look at all processes."""
        for kind, used in seen.items():
            peak = self.kinds.setdefault(kind, Peak())
            peak.processes = max(peak.processes, len(used))
            for name in ("proportional", "private", "shared"):
                largest = max(getattr(each, name) for each in used)
                setattr(peak, name, max(getattr(peak, name), largest))
            peak.together = max(peak.together, sum(each.proportional for each in used))
        self.together = max(self.together, sum(each.proportional for used in seen.values() for each in used))


def used_by(pid: int) -> ProcessMemory | None:
    """Bytes of a process; None where it is gone or is another user's."""
    with suppress(ConfigError):
        return ProcessMemory.of(pid)
    return None


def core_seconds(pid: int) -> float:
    """What a process took so far, and with it all that it started and that has ended; 0 once it is gone."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def descendants(pid: int) -> list[int]:
    """A process and all that it started, directly or not."""
    found = [pid]
    for each in found:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                with suppress(OSError):
                    found += [int(child) for child in (task / "children").read_text().split()]
    return found


def kind_of(pid: int, front: str) -> str:
    """What a process of a service is, by its command line, and a fork by its name."""
    with suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        is_fork = Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == WORKER
        kinds = _KINDS if is_fork else _FORK_SERVERS
        return next((kind for word, kind in kinds.items() if word in command), front)
    return front


class MemoryWatch:
    """Looks a few times a second, for the length of a `with` block.

    Args:
        fronts: process ids by name: `server front`, `dealer front`.

    Attributes:
        peaks: what was seen.
    """

    def __init__(
        self, fronts: Mapping[str, int], look: Callable[[int], ProcessMemory | None] = used_by
    ) -> None:
        self._fronts, self._look = fronts, look
        self.peaks, self._over = Peaks(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> None:
        """Takes one sample."""
        seen: dict[str, list[ProcessMemory]] = defaultdict(list)
        for front, pid in self._fronts.items():
            for each in descendants(pid):
                if (used := self._look(each)) is not None:
                    seen[kind_of(each, front)].append(used)
        self.peaks.take(seen)

    def _watch(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self.look()
            self._over.wait(max(_EVERY_S, 4 * (time.monotonic() - began)))  # a fifth of its time at most
