"""What a front tells its log, its counters and its status document."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mpcinfer.service.status import ServiceState
from mpcinfer.service.watching import Watching, billed
from mpcinfer.service.worker import State
from parties.bill import Bill, BillRow

if TYPE_CHECKING:
    from mpcinfer.service.dealing.store import DealerStore
    from mpcinfer.service.front import Front

_STOCK_S = 15.0
_NUMBERS = {field.name for field in fields(BillRow)} - {"label", "kind"}


@dataclass(slots=True)
class FrontWatch:
    """Is told by a front what happens, event by event, and looks at it now and then.

    Args:
        watching: the service's.
    """

    watching: Watching
    refusals: dict[str, int]
    followed_s: float = 0.0
    stocked_s: float = -1e9

    @classmethod
    def of(cls, watching: Watching) -> FrontWatch:
        """Of a service where nothing happened yet."""
        return cls(watching, {})

    def __call__(self, event: str, *, client: str = "", **more: Any) -> None:
        """An event, as `Front` and `Pool` name them."""
        log, metrics = self.watching.log.bind(client=client), self.watching.metrics
        match event:
            case "admitted":
                log.info("session started", seconds=float(more["waited_s"]))
                if metrics is not None:
                    metrics.session_started(client, float(more["waited_s"]))
            case "refused":
                reason = str(more["reason"])
                self.refusals[reason] = self.refusals.get(reason, 0) + 1
                log.info("session refused", reason=reason)
                if metrics is not None:
                    metrics.session_refused(reason)
            case "session over":
                self._over(client, more)
            case "session failed":
                self._failed(client, more)
            case "session ended":
                log.warning("session ended", reason=str(more["reason"]))
            case "worker failed":
                log.error("worker failed", pid=int(more["pid"]), status=int(more["code"]))
                if metrics is not None:
                    metrics.worker_restarted()
            case "draining":
                log.info("draining", running=int(more["running"]), waiting=int(more["waiting"]))
                self.watching.update(state=ServiceState.DRAINING)
            case "malformed":
                log.warning("malformed request", message=str(more["message"]))
            case _:
                log.warning("unknown event", message=event)

    def follow(self, front: Front) -> None:
        """The status, every second or so."""
        now = time.monotonic()
        if now - self.followed_s < 1.0:
            return
        self.followed_s = now
        pool, metrics = front.pool, self.watching.metrics
        counts = {state: pool.count(state) for state in State}
        self.watching.pids = [os.getpid(), *(worker.pid for worker in pool.workers)]
        self.watching.update(
            running=len(front.running),
            queued=len(front.queue),
            refusals=dict(self.refusals),
            workers_ready=counts[State.READY],
            workers_busy=counts[State.SERVING],
            worker_restarts=pool.restarts,
        )
        if metrics is not None:
            metrics.queued.set(len(front.queue))
            metrics.draining.set(float(front.draining))
            metrics.set_workers(
                starting=counts[State.STARTING], ready=counts[State.READY], busy=counts[State.SERVING]
            )

    def stock(self, store: DealerStore) -> None:
        """What a dealer has ahead, every minute or so."""
        now = time.monotonic()
        if now - self.stocked_s < _STOCK_S:
            return
        self.stocked_s = now
        shown = store.status()
        ready = sum(pair.bundles.get("ready", 0) for pair in shown.pairs)
        self.watching.update(bundles_ready=ready, disk_bytes=shown.held_bytes)
        if self.watching.metrics is not None:
            self.watching.metrics.bundles_ready.set(ready)
            self.watching.metrics.disk_bytes.set(shown.held_bytes)

    def _over(self, client: str, more: dict[str, Any]) -> None:
        seconds = float(more["seconds"])
        total = {name: value for name, value in more.items() if name in _NUMBERS and name != "seconds"}
        bill = Bill(rows=[BillRow(label="total", **total)]) if total else None
        log = self.watching.log.bind(client=client).bind(**billed(bill))
        log.info("session over", seconds=seconds, message=str(more.get("dealt", "")))
        if self.watching.metrics is not None:
            self.watching.metrics.session_ended("served", seconds, bill, int(more.get("tokens", 0)))
        self.watching.update(served=self.watching.status.served + 1)

    def _failed(self, client: str, more: dict[str, Any]) -> None:
        error, message, seconds = str(more["error"]), str(more["message"]), float(more["seconds"])
        self.watching.log.bind(client=client).warning(
            "session failed", error=error, message=message, seconds=seconds
        )
        if self.watching.metrics is not None:
            outcome = "crashed" if error == "WorkerEnded" else "failed"
            self.watching.metrics.session_ended(outcome, seconds)
        self.watching.update(failed=self.watching.status.failed + 1, last_error=f"{error}: {message}")
