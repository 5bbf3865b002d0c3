"""Sessions that were asked for and do not run yet: first in, first out a client, and the clients in turn."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from mpcinfer.service.worker import Worker
from parties.tcp import Visitor


@dataclass(slots=True, eq=False)
class Entry:
    """A session, from the first request for it until its worker ends.

    Attributes:
        id: the ticket that its party has; at a dealer the id of the session of its two parties.
        client: name of the client on the allow list, or of the first party that came.
        since_s: when it was first asked for.
        heard_s: when a party of it was last heard, by role.
        keys: public keys of the parties that came, by role.
        pending: requests that are not answered yet, by role, and since when.
        worker: once it has one.
        ports: where that awaits each party, once it does.
        host: of these ports; None for the front's own.
        began_s: when it got its worker.
        told: its worker said how it went.
        told_to_end_s: when its worker was told to end.
        again: a worker that it got died before anybody was sent to it.
    """

    id: bytes
    client: str
    since_s: float
    heard_s: dict[str, float] = field(default_factory=dict[str, float])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    pending: dict[str, tuple[Visitor, float]] = field(default_factory=dict[str, tuple[Visitor, float]])
    worker: Worker | None = None
    ports: dict[str, int] = field(default_factory=dict[str, int])
    host: str | None = None
    began_s: float = 0.0
    told: bool = False
    told_to_end_s: float | None = None
    again: bool = False

    @property
    def seconds(self) -> float:
        """Since it got its worker."""
        return round(time.monotonic() - self.began_s, 3)

    def where(self, role: str) -> dict[str, Any]:
        """What a party is told of its worker's place."""
        return {"port": self.ports[role], **({} if self.host is None else {"host": self.host})}


class FairQueue:
    """Waiting entries. The next one is of the client that was served longest ago."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._served: dict[str, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def get(self, entry_id: bytes) -> Entry | None:
        """The entry of that id, where it waits."""
        return self._entries.get(entry_id)

    def add(self, entry: Entry) -> None:
        """At the end of its client's."""
        self._entries[entry.id] = entry

    def remove(self, entry: Entry) -> None:
        """It waits no more."""
        self._entries.pop(entry.id, None)

    def of(self, client: str) -> int:
        """How many of a client's wait."""
        return sum(entry.client == client for entry in self._entries.values())

    def order(self) -> list[Entry]:
        """Entries in the order of service if none came: every client's first, and so on."""
        turns: Counter[str] = Counter()
        ranked: list[tuple[int, int, int, Entry]] = []
        for place, entry in enumerate(self._entries.values()):
            ranked.append((turns[entry.client], self._served.get(entry.client, 0), place, entry))
            turns[entry.client] += 1
        return [entry for *_, entry in sorted(ranked, key=lambda each: each[:3])]

    def next(self, may_run: Callable[[Entry], bool]) -> Entry | None:
        """Takes the first entry that may run now."""
        for entry in self.order():
            if may_run(entry):
                self.remove(entry)
                self._count += 1
                self._served[entry.client] = self._count
                return entry
        return None

    def forget(self, clients: Collection[str]) -> None:
        """Whose turn was when, of clients that are no more."""
        for client in clients:
            self._served.pop(client, None)
