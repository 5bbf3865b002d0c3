"""The process at the public endpoint: it admits, queues, and gives each session to a worker."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, cast

from mpcinfer.service.admitting import Admitting
from mpcinfer.service.allow_list import AllowList
from mpcinfer.service.limits import Limits
from mpcinfer.service.pool import Pool
from mpcinfer.service.queue import Entry, FairQueue
from mpcinfer.service.worker import Worker
from parties.admission import HOLD_S, Request
from parties.errors import AdmissionRefused
from parties.refusals import to_document
from parties.tcp import Reception, Visitor

_LOOK_S = 0.25
_REFRESH_S = 1.0
_LONE_S = 60.0
_HEED_S = 5.0
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)

Note = Callable[..., None]


class Front:
    """One service's front.

    Args:
        reception: where parties ask.
        lists: who may connect, by role; a session takes one party of each role.
        limits: what clients may take.
        pool: of `limits.sessions` workers.
        note: is told what happens: an event's name, and fields.
        admits: raises AdmissionRefused for the key of a client that may not have a session for now.
    """

    def __init__(
        self,
        reception: Reception,
        lists: Mapping[str, AllowList],
        limits: Limits,
        pool: Pool,
        note: Note,
        admits: Callable[[str], None] | None = None,
    ) -> None:
        self._reception, self._lists, self._limits, self.pool = reception, lists, limits, pool
        self._note = note
        self.queue = FairQueue()
        self.running: dict[Worker, Entry] = {}
        self._admitting = Admitting(limits, lists, self.queue, self.running, pool, admits)
        self._refreshed_s = 0.0
        self._drain_until_s: float | None = None
        self.served = self.failed = 0

    @property
    def draining(self) -> bool:
        """Whether it takes no session any more."""
        return self._admitting.draining

    def run(self, each: Callable[[], None] = lambda: None) -> None:
        """Serves until it is told to end (SIGTERM, Ctrl-C, or `drain`) and nothing runs any more.

        Args:
            each: is called a few times a second.
        """
        with _told_to_end(self.drain):
            while not self._over():
                self.step()
                each()
        self._refuse_waiting()
        self.pool.close()

    def step(self, wait_s: float = _LOOK_S) -> None:
        """Follows what happens for a moment."""
        self.pool.fill()
        for worker, event in self.pool.events():
            self._happened(worker, event)
        self._listen(wait_s)
        self._refresh()
        self._serve_next()
        self._answer()
        self._end_what_lasts()

    def drain(self) -> None:
        """No session is admitted any more; those that run have `drain_s` to end."""
        if not self._admitting.draining:
            self._admitting.draining = True
            self._drain_until_s = time.monotonic() + self._limits.drain_s
            self._note("draining", running=len(self.running), waiting=len(self.queue))
        else:  # told twice
            self._drain_until_s = time.monotonic()

    def _over(self) -> bool:
        if self._drain_until_s is None:
            return False
        return not self.running or time.monotonic() > self._drain_until_s

    # -- parties ---------------------------------------------------------------------------------------------

    def _listen(self, wait_s: float) -> None:
        """Takes what is asked; news of a worker end the wait, too."""
        for visitor, document in self._reception.requests(wait_s, self.pool.descriptors):
            self._asked(visitor, document)

    def _asked(self, visitor: Visitor, document: dict[str, Any]) -> None:
        try:
            request = Request.from_document(document)
            entry = self._admitting.entry_of(visitor.key, request)
        except AdmissionRefused as refused:
            self._reception.answer(visitor, to_document(refused))
            self._note("refused", client=self._name(visitor.key), reason=refused.reason)
            return
        now = time.monotonic()
        entry.heard_s[request.role] = now
        entry.pending[request.role] = (visitor, now)

    def _name(self, key: str) -> str:
        return next((each.names[key] for each in self._lists.values() if key in each), "nobody listed")

    def _answer(self) -> None:
        """Tells parties where their workers are, and others, now and then, that they wait."""
        now = time.monotonic()
        for entry in self.running.values():
            for role in list(entry.pending):
                if role in entry.ports:
                    self._tell(entry, role, entry.where(role))
        waiting = [*((entry, 1) for entry in self.running.values())]
        waiting += [(entry, place) for place, entry in enumerate(self.queue.order(), 1)]
        for entry, place in waiting:
            for role, (_, since_s) in list(entry.pending.items()):
                if now - since_s > HOLD_S / 2:
                    self._tell(entry, role, {"wait": place, "ticket": entry.id})

    def _tell(self, entry: Entry, role: str, answer: dict[str, Any]) -> None:
        visitor, _ = entry.pending.pop(role)
        self._reception.answer(visitor, answer)

    def _refuse(self, entry: Entry, refused: AdmissionRefused) -> None:
        """The entry is no more."""
        self.queue.remove(entry)
        for role in list(entry.pending):
            self._tell(entry, role, to_document(refused))
        self._note("refused", client=entry.client, reason=refused.reason)

    def _refuse_waiting(self) -> None:
        for entry in self.queue:
            self._refuse(entry, AdmissionRefused("draining", "the service ends", None))

    # -- sessions --------------------------------------------------------------------------------------------

    def _serve_next(self) -> None:
        """Gives sessions to workers that are ready."""
        while not self.draining and (worker := self.pool.ready()) is not None:
            entry = self.queue.next(self._admitting.may_run)
            if entry is None:
                return
            entry.worker, entry.began_s = worker, time.monotonic()
            self.running[worker] = entry
            worker.serve(entry.keys, entry.client)
            self._note("admitted", client=entry.client, waited_s=round(entry.began_s - entry.since_s, 3))

    def _happened(self, worker: Worker, event: dict[str, Any]) -> None:
        entry = self.running.get(worker)
        match event:
            case {"event": "listening"} if entry is not None:
                entry.host = worker.host
                entry.ports = {
                    str(role): int(port) for role, port in cast(dict[str, int], event["ports"]).items()
                }
            case {"event": "over"} if entry is not None:
                self.served += 1
                self._admitting.took(time.monotonic() - entry.began_s)
                self._note("session over", client=entry.client, seconds=entry.seconds, **_without_name(event))
                entry.told = True
            case {"event": "failed"} if entry is not None:
                self.failed += 1
                self._note(
                    "session failed", client=entry.client, seconds=entry.seconds, **_without_name(event)
                )
                entry.told = True
            case {"event": "ended", "code": int() as code}:
                self._ended(worker, entry, code)
            case _:
                pass

    def _ended(self, worker: Worker, entry: Entry | None, code: int) -> None:
        """A worker is gone; a session that it had goes with it, and is heard of."""
        self.running.pop(worker, None)
        if entry is None:
            if code:
                self._note("worker failed", pid=worker.pid, code=code)
            return
        if not (entry.told or entry.ports or entry.again or self.draining):  # nobody was sent to it yet
            entry.again, entry.worker = True, None
            self.queue.add(entry)
            self._note("worker failed", pid=worker.pid, code=code)
            return
        if not entry.told:
            self.failed += 1
            self._note(
                "session failed",
                client=entry.client,
                seconds=entry.seconds,
                error="WorkerEnded",
                message=f"status {code}",
            )
        for role in list(entry.pending):
            refused = AdmissionRefused("unavailable", "the worker of this session ended", 1.0)
            self._tell(entry, role, to_document(refused))

    def _end_what_lasts(self) -> None:
        """Limits of time and memory, and of those that ask no more."""
        now, limits = time.monotonic(), self._limits
        for entry in self.queue:
            heard = max(entry.heard_s.values())
            if now - heard > 3 * HOLD_S or self._lone(entry, now):
                self._refuse(entry, AdmissionRefused("pair", "the other party of the session did not come"))
            elif now - entry.since_s > limits.wait_s:
                self._refuse(entry, self._admitting.busy("full", "too long in the queue"))
        for worker, entry in list(self.running.items()):
            if entry.told_to_end_s is not None:
                self._end(worker, entry, "it was told to end")
            if limits.session_s is not None and now - entry.began_s > limits.session_s + limits.accept_s:
                self._end(worker, entry, f"ran for more than {limits.session_s:g} s")
            used = worker.private_bytes() if limits.memory_bytes is not None else 0
            if limits.memory_bytes is not None and used > limits.memory_bytes:
                self._end(worker, entry, f"took {used:,} bytes of memory, more than {limits.memory_bytes:,}")

    def _lone(self, entry: Entry, now: float) -> bool:
        """Whether a party waits in vain for the other one."""
        return len(entry.keys) < len(self._lists) and now - entry.since_s > _LONE_S

    def _end(self, worker: Worker, entry: Entry, why: str) -> None:
        """Ends a session; a worker that does not heed it, being stopped, is killed a little later."""
        now = time.monotonic()
        if entry.told_to_end_s is None:
            entry.told_to_end_s = now
            self._note("session ended", client=entry.client, reason=why)
            worker.end()
        elif now - entry.told_to_end_s > _HEED_S:
            worker.end(at_once=True)

    def _refresh(self) -> None:
        """Reads the allow lists again; who is no more on them has no session any more."""
        now = time.monotonic()
        if now - self._refreshed_s < _REFRESH_S:
            return
        self._refreshed_s = now
        gone = {key for each in self._lists.values() for key in each.refresh()}
        for worker, entry in list(self.running.items()):
            if gone & set(entry.keys.values()):
                self._end(worker, entry, "its key is on the list no more")
        for entry in self.queue:
            if gone & set(entry.keys.values()):
                self._refuse(entry, AdmissionRefused("pair", "its key is on the list no more"))


def _without_name(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "event"}


@contextmanager
def _told_to_end(end: Callable[[], None]) -> Generator[None]:
    """Requests to end this process call `end` instead, inside of the block; in the main thread alone."""

    def told(number: int, frame: FrameType | None) -> None:
        end()

    before = dict[int, Any]()
    with suppress(ValueError):  # in another thread
        before = {number: signal.signal(number, told) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
