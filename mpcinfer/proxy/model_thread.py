"""The thread that has the private session: jobs run in it one at a time, in the order in which they came."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from mpcinfer.models.public import PublicModel
from mpcinfer.proxy.api_errors import ApiError
from mpcinfer.roles.client import PrivateClient
from mpcinfer.turn import ChatModel
from parties.bill import Bill
from parties.errors import ConfigError, HandshakeFailed, MpcInferError, PeerError

Open = Callable[[], AbstractContextManager[ChatModel]]


@dataclass(slots=True, eq=False)
class Job:
    """What is to be done with the model.

    Attributes:
        work: is run in the model's thread.
        begun: some of the answer is out already, so that it cannot be tried again.
        left: whoever asked is gone; nothing is begun or tried again for it.
    """

    work: Callable[[ChatModel], Any]
    begun: bool = False
    left: threading.Event = field(default_factory=threading.Event)
    done: Future[Any] = field(default_factory=Future[Any])

    def leave(self) -> None:
        """Whoever asked does not want it any more."""
        self.left.set()
        self.done.cancel()


class ModelThread:
    """Opens a session, and another one after an error that ended it.

    A server ends a session that was silent for long. A job that finds its session ended before any of its
    answer came is tried once more in a new one, which takes new correlations.

    Args:
        open_model: gives the model for the length of a block.
        most_waiting: jobs that may wait.
        on_bill: is told the bill of every session that ended in order.
    """

    def __init__(
        self, open_model: Open, most_waiting: int, on_bill: Callable[[Bill], None] | None = None
    ) -> None:
        self._open, self._most, self._on_bill = open_model, most_waiting, on_bill
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting, self._lock = 0, threading.Lock()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._started: Future[PublicModel] = Future()
        self._session, self._model = ExitStack(), None
        self._digest: str | None = None
        self._pending = set[Job]()
        self.sessions = 0

    def start(self) -> PublicModel:
        """Opens the first session; raises what that raises."""
        self._thread.start()
        return self._started.result()

    def submit(self, job: Job) -> None:
        """Queues a job; its future has the outcome.

        Raises:
            ApiError: 429, too many wait already.
        """
        with self._lock:
            if self._waiting > self._most:
                raise ApiError(
                    429,
                    f"{self._most} requests wait already",
                    kind="rate_limit_error",
                    code="queue_full",
                    retry_s=5,
                )
            self._waiting += 1
        self._pending.add(job)
        job.done.add_done_callback(lambda _: self._over(job))
        self._jobs.put(job)

    @property
    def waiting(self) -> int:
        """Jobs that wait or run."""
        return self._waiting

    def close(self) -> None:
        """Ends the session in order after the job at hand."""
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def end_all(self) -> None:
        """Nobody is answered any more: the answer at hand ends after its next token."""
        for job in list(self._pending):
            job.leave()

    def _over(self, job: Job) -> None:
        with self._lock:
            self._waiting -= 1
        self._pending.discard(job)

    def _run(self) -> None:
        try:
            self._started.set_result(self._opened().public)
        except BaseException as error:
            self._started.set_exception(error)
            return
        while (job := self._jobs.get()) is not None:
            if job.done.set_running_or_notify_cancel():
                self._do(job)
        self._end()

    def _do(self, job: Job) -> None:
        """Runs a job; what it raises is its outcome, and ends the session unless the request was at fault."""
        fresh = self._model is None
        try:
            result = job.work(self._opened())
        except PeerError as error:
            self._leave(error)
            if fresh or job.begun or job.left.is_set():
                job.done.set_exception(error)
            else:
                self._do(job)
        except (ConfigError, ApiError) as error:
            job.done.set_exception(error)
        except BaseException as error:
            self._leave(error)
            job.done.set_exception(error)
        else:
            job.done.set_result(result)

    def _opened(self) -> ChatModel:
        if self._model is None:
            model = self._session.enter_context(self._open())
            digest = model.public.digest()
            if self._digest not in (None, digest):
                raise HandshakeFailed(f"the server has another model now: {digest}, not {self._digest}")
            self._digest, self._model = digest, model
            self.sessions += 1
        return self._model

    def _leave(self, error: BaseException) -> None:
        """Ends a session in which an error was raised; what its end raises adds nothing."""
        session, self._session, self._model = self._session, ExitStack(), None
        with suppress(Exception):
            session.__exit__(type(error), error, error.__traceback__)

    def _end(self) -> None:
        """Ends the session in order."""
        try:
            if isinstance(self._model, PrivateClient) and self._on_bill is not None:
                self._on_bill(self._model.finish())
            self._session.close()
        except MpcInferError as error:
            self._leave(error)
