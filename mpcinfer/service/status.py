"""The status document: what a running service tells about itself to who may read its runtime folder.

It has counts, names and sizes, and nothing of a session: no key, no prompt, no token. It has two clocks:
the calendar for people; and the machine's own, which no change of the calendar moves, for what is stale.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Any, cast

from parties.errors import ConfigError

FORMAT = 1
STALE_S = 30.0
"""A service writes every second; one that said nothing for so long has stopped or hangs."""
_MOST_COUNT = 1 << 62
_MOST_LETTERS = 2000
_MOST_REASONS = 64


def utc_now() -> str:
    """The calendar, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ServiceState(StrEnum):
    """What a service does with those who come."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Health(StrEnum):
    """What a status document says to who has to act on it."""

    HEALTHY = "healthy"
    STARTING = "starting"
    DRAINING = "draining"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """What a service tells about itself.

    Attributes:
        role: server, dealer or proxy.
        name: tells services of one role and machine apart: the port they listen at.
        pid: its process.
        since: when it started, in UTC.
        version: of this program.
        endpoint: where clients come, tcp://host:port.
        model, plan, digest: what a server serves; empty at a dealer.
        running, queued: sessions at this moment.
        served, failed: sessions since the start, by how they ended.
        refusals: sessions that were not taken, by reason.
        workers_ready, workers_busy, worker_restarts: processes for a session each.
        private_bytes: memory that the service and its workers have each for themselves.
        shared_bytes: memory that they share, weights above all, counted once.
        bundles_ready, disk_bytes: of a dealer: sessions dealt ahead, and what they take.
        last_error: class and message of what last ended a session in failure; empty where nothing did.
        written: when the document was, in UTC.
        machine_seconds: the same by the machine's own clock.
    """

    role: str
    name: str
    endpoint: str
    version: str = field(default_factory=lambda: version("mpcinfer"))
    since: str = field(default_factory=utc_now)
    pid: int = field(default_factory=os.getpid)
    state: ServiceState = ServiceState.STARTING
    model: str = ""
    plan: str = ""
    digest: str = ""
    running: int = 0
    queued: int = 0
    served: int = 0
    failed: int = 0
    refusals: dict[str, int] = field(default_factory=dict[str, int])
    workers_ready: int = 0
    workers_busy: int = 0
    worker_restarts: int = 0
    private_bytes: int = 0
    shared_bytes: int = 0
    bundles_ready: int = 0
    disk_bytes: int = 0
    last_error: str = ""
    written: str = ""
    machine_seconds: float = 0.0

    def now(self) -> ServiceStatus:
        """The same, written at this moment."""
        return dataclasses.replace(self, written=utc_now(), machine_seconds=machine_clock())

    def to_json(self) -> str:
        """The document."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> ServiceStatus:
        """A document read back, every field checked.

        Args:
            where: what the text is from, for the error.

        Raises:
            ConfigError: no such document; the message names the field.
        """
        try:
            found: object = json.loads(text)
        except (ValueError, RecursionError):
            raise ConfigError(f"{where}: no status document: not JSON") from None
        if not isinstance(found, dict):
            raise ConfigError(f"{where}: no status document: expected an object")
        document = cast("dict[str, object]", found)
        if document.get("format") != FORMAT:
            raise ConfigError(f"{where}: a status document of another version of this program")
        names = {each.name for each in dataclasses.fields(cls)}
        if {*document} - {"format"} != names:
            wrong = sorted({*document} - {"format"} ^ names)
            raise ConfigError(f"{where}: no status document: {', '.join(wrong)[:80]} missing or unknown")
        values: dict[str, Any] = {
            each.name: _checked(f"{where}: {each.name}", document[each.name], _CHECKS[str(each.type)])
            for each in dataclasses.fields(cls)
        }
        return cls(**values)

    def health(self) -> Health:
        """Whether it serves, as far as the document and the process table tell."""
        age = machine_clock() - self.machine_seconds
        if not 0 <= age <= STALE_S or not _is_running(self.pid):
            return Health.STALE
        return _HEALTH[self.state]


_HEALTH = {
    ServiceState.STARTING: Health.STARTING,
    ServiceState.SERVING: Health.HEALTHY,
    ServiceState.DRAINING: Health.DRAINING,
}


def machine_clock() -> float:
    """Seconds by a clock that all processes of the machine share and nobody sets."""
    return time.monotonic()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _checked(where: str, value: object, check: tuple[str, Callable[[object], Any]]) -> Any:
    expected, read = check
    found = read(value)
    if found is None:
        raise ConfigError(f"{where}: expected {expected}")
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= _MOST_LETTERS else None


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_COUNT else None


def _seconds(value: object) -> float | None:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MOST_COUNT
    return float(cast("float", value)) if fits else None


def _state(value: object) -> ServiceState | None:
    return ServiceState(value) if isinstance(value, str) and value in set(ServiceState) else None


def _counts(value: object) -> dict[str, int] | None:
    if not isinstance(value, Mapping):
        return None
    counts = cast("Mapping[str, object]", value)
    fits = len(counts) <= _MOST_REASONS and all(_count(each) is not None for each in counts.values())
    return {name: cast("int", each) for name, each in counts.items()} if fits else None


_CHECKS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "str": ("a text", _text),
    "int": ("a whole number, not negative", _count),
    "float": ("seconds", _seconds),
    "ServiceState": (f"one of {', '.join(ServiceState)}", _state),
    "dict[str, int]": ("counts by name", _counts),
}
