"""What a front needs of a worker, whatever starts it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


class State(StrEnum):
    """Of a worker."""

    STARTING = "starting"
    READY = "ready"
    SERVING = "serving"
    ENDED = "ended"


@runtime_checkable
class Worker(Protocol):
    """A process for one session, as its front sees it.

    Attributes:
        pid: of the process, on its machine; 0 while that is not known.
        host: where parties reach it; None for the front's own host.
        state: as far as was heard.
    """

    pid: int
    host: str | None
    state: State

    @property
    def descriptor(self) -> int:
        """Has something to read when the worker said something or ended."""
        ...

    def serve(self, parties: dict[str, str], name: str) -> None:
        """Whom to serve: public keys by role."""
        ...

    def events(self) -> list[dict[str, Any]]:
        """What it said since the last call; at last `{"event": "ended", "code": c}`."""
        ...

    def private_bytes(self) -> int:
        """Memory that it shares with nobody; 0 once it is gone."""
        ...

    def end(self, *, at_once: bool = False) -> None:
        """Asks it to end, or ends it."""
        ...

    def close(self, timeout_s: float) -> None:
        """Ends it, if it has not, and waits until it has; safe to repeat."""
        ...
