"""Workers that are started ahead, one for every session that may run at once; each serves one and ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from mpcinfer.service.worker import State, Worker

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_END_S = 10.0


class Pool:
    """So many workers, whatever happens to one.

    A worker that ends before it was ready failed to start, and so did one of which the machine had no room
    for a process; after such a failure the next start waits, twice as long each time.

    Args:
        size: how many.
        start: starts one.

    Attributes:
        restarts: workers that were started after one ended without having served to its end.
        failed_starts: in a row; 0 where the last start went well.
    """

    def __init__(self, size: int, start: Callable[[], Worker]) -> None:
        self._size, self._start = size, start
        self._workers: list[Worker] = []
        self._not_before_s = 0.0
        self.restarts = self.failed_starts = 0
        self._closing = False

    @property
    def workers(self) -> Sequence[Worker]:
        """All that live."""
        return self._workers

    @property
    def descriptors(self) -> list[int]:
        """To wait at for something to happen."""
        return [worker.descriptor for worker in self._workers]

    def count(self, state: State) -> int:
        """Workers in a state."""
        return sum(worker.state is state for worker in self._workers)

    def ready(self) -> Worker | None:
        """One that can serve now."""
        return next((worker for worker in self._workers if worker.state is State.READY), None)

    def events(self) -> list[tuple[Worker, dict[str, Any]]]:
        """What workers said; those that ended are gone from the pool afterwards."""
        heard: list[tuple[Worker, dict[str, Any]]] = []
        for worker in list(self._workers):
            before = worker.state
            for event in worker.events():
                if event["event"] == "ready":
                    self.failed_starts, before = 0, State.READY
                if event["event"] == "ended":
                    self._workers.remove(worker)
                    self._note_end(before, event["code"])
                heard.append((worker, event))
        return heard

    def fill(self) -> None:
        """Starts what is missing, unless the last starts failed a moment ago."""
        while not self._closing and len(self._workers) < self._size:
            if time.monotonic() < self._not_before_s:
                return
            try:
                self._workers.append(self._start())
            except OSError:  # no memory, processes or descriptors now
                self._note_failed_start()

    def close(self) -> None:
        """Ends all and starts no more; safe to repeat."""
        self._closing = True
        for worker in self._workers:
            worker.end()
        deadline = time.monotonic() + _END_S
        for worker in self._workers:
            worker.close(max(0.1, deadline - time.monotonic()))
        self._workers.clear()

    def _note_end(self, before: State, code: int) -> None:
        if before is State.STARTING:
            self._note_failed_start()
        if code != 0:
            self.restarts += 1

    def _note_failed_start(self) -> None:
        self.failed_starts += 1
        pause = _FIRST_PAUSE_S * 2 ** min(self.failed_starts - 1, 10)
        self._not_before_s = time.monotonic() + min(pause, _LONGEST_PAUSE_S)
