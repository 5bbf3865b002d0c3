"""Who is admitted: every request against the limits, answered with an entry or a refusal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from mpcinfer.service.allow_list import AllowList
from mpcinfer.service.limits import Limits
from mpcinfer.service.pool import Pool
from mpcinfer.service.queue import Entry, FairQueue
from mpcinfer.service.worker import State, Worker
from parties.admission import TICKET_BYTES, Request
from parties.errors import AdmissionRefused
from parties.randomness import SystemRandom

_MINUTE_S = 60.0
_MOST_FAILED_STARTS = 3
_FIRST_GUESS_S = 10.0
_LONGEST_HINT_S = 600.0
_WEIGHT = 0.2  # of the last session in the mean of how long one takes


class Admitting:
    """The rules of one front.

    Args:
        limits: see there.
        lists: who may connect, by role.
        queue, running, pool: the front's.
        admits: raises AdmissionRefused for the key of a client that may not have a session for now.

    Attributes:
        draining: nobody is admitted any more.
        session_s: how long sessions took lately, for hints.
    """

    def __init__(
        self,
        limits: Limits,
        lists: Mapping[str, AllowList],
        queue: FairQueue,
        running: Mapping[Worker, Entry],
        pool: Pool,
        admits: Callable[[str], None] | None = None,
    ) -> None:
        self._limits, self._lists, self._queue, self._running, self._pool = (
            limits,
            lists,
            queue,
            running,
            pool,
        )
        self._admits: Callable[[str], None] = admits or _anybody
        self._asked: dict[str, deque[float]] = {}
        self.draining, self.session_s = False, _FIRST_GUESS_S

    def entry_of(self, key: str, request: Request) -> Entry:
        """The entry that a request is for: a new one where it begins a session.

        Args:
            key: of the party that asked.

        Raises:
            AdmissionRefused: the party may not have it, or not now.
        """
        names = self._lists.get(request.role)
        if names is None or key not in names:
            raise AdmissionRefused("pair", f"no session here for the role {request.role} with that key")
        if len(self._lists) > 1 and not request.parent:
            raise AdmissionRefused("pair", "a dealer serves the session of a server and a client")
        known = self._known(request)
        if known is not None:
            return self._joined(known, key, request.role)
        entry = self._new(key, names.names[key], request)
        self._queue.add(entry)
        return entry

    def may_run(self, entry: Entry) -> bool:
        """Whether all its parties came and wait for an answer now, and its client has not as many sessions as
        it may.

        A party that waits asks again at once. One that died in the queue does not, and gets no worker, who
        would wait for it in vain while others could be served.
        """
        if len(entry.pending) < len(self._lists):
            return False
        most = self._limits.client_sessions
        return most is None or sum(each.client == entry.client for each in self._running.values()) < most

    def took(self, seconds: float) -> None:
        """How long a session took."""
        self.session_s += _WEIGHT * (seconds - self.session_s)

    def busy(self, reason: str, message: str) -> AdmissionRefused:
        """A refusal with a hint from how many wait and how long sessions take."""
        rounds = 1 + len(self._queue) / self._limits.sessions
        return AdmissionRefused(reason, message, min(_LONGEST_HINT_S, max(1.0, rounds * self.session_s)))

    def _known(self, request: Request) -> Entry | None:
        """The entry that the request goes on with."""
        wanted = request.parent or request.ticket
        if not wanted:
            return None
        running = next((each for each in self._running.values() if each.id == wanted), None)
        return running or self._queue.get(wanted)

    def _joined(self, entry: Entry, key: str, role: str) -> Entry:
        """The entry, with a party that came now or came before."""
        if entry.keys.get(role, key) != key:
            raise AdmissionRefused("pair", f"another {role} is in this session")
        if role not in entry.keys:
            if role == "client":
                name = self._lists[role].names[key]
                self._require_room(name, joins=True)
                self._admits(key)
                entry.client = name
            entry.keys[role] = key
        return entry

    def _new(self, key: str, name: str, request: Request) -> Entry:
        limits = self._limits
        if self.draining:
            raise AdmissionRefused("draining", "the service ends", None)
        if limits.context is not None and request.context > limits.context:
            raise AdmissionRefused(
                "context",
                f"a session holds at most {limits.context} tokens here, {request.context} were asked for",
            )
        if request.role == "client":
            self._require_room(name)
            self._admits(key)
        if self._pool.failed_starts >= _MOST_FAILED_STARTS and not self._pool.count(State.READY):
            raise self.busy("unavailable", "no worker starts")
        entry_id = request.parent or SystemRandom().draw_bytes(TICKET_BYTES)
        return Entry(id=entry_id, client=name, since_s=time.monotonic(), keys={request.role: key})

    def _require_room(self, name: str, *, joins: bool = False) -> None:
        """A place in the queue for a session of a client."""
        limits = self._limits
        if limits.rate is not None:
            self._require_rate(name, limits.rate)
        if not joins and len(self._queue) >= limits.waiting:
            raise self.busy("full", f"{len(self._queue)} sessions wait already")
        if limits.client_waiting is not None and self._queue.of(name) >= limits.client_waiting:
            raise self.busy("sessions", f"{limits.client_waiting} sessions of this client wait already")

    def _require_rate(self, name: str, rate: float) -> None:
        now, asked = time.monotonic(), self._asked.setdefault(name, deque())
        while asked and now - asked[0] > _MINUTE_S:
            asked.popleft()
        if len(asked) >= rate:
            raise AdmissionRefused(
                "rate",
                f"this client asked for {len(asked)} sessions within a minute",
                _MINUTE_S - (now - asked[0]),
            )
        asked.append(now)


def _anybody(key: str) -> None:
    """No rule of its own."""
