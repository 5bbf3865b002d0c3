"""One service as it is watched: its log, its counters and its status document, kept in step."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from mpcinfer.roles.watch import Watch
from mpcinfer.service.logs import Fields, LogKind, LogLevel, as_say, configure, error_fields, logger, silence
from mpcinfer.service.memory import memory_of
from mpcinfer.service.metrics import Metrics, MetricsServer
from mpcinfer.service.status import Health, ServiceState, ServiceStatus
from mpcinfer.service.status_file import StatusFile, runtime_folder, status_files
from parties.bill import Bill
from parties.errors import ConfigError, MpcInferError

BEAT_S = 1.0
_BILLED = (
    "rounds",
    *(f"{phase}_bytes_to_{to}" for phase in ("online", "offline", "wire") for to in ("server", "client")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """How a service is to be watched, as its command line says.

    Attributes:
        log, level, log_file: as `configure` takes them.
        metrics: `host:port` for Prometheus; None for none.
        runtime: the folder of the status document; None for the usual one.
        status: whether there is a document at all; a run of one session has none.
    """

    log: LogKind = LogKind.AUTO
    level: LogLevel = LogLevel.INFO
    log_file: Path | None = None
    metrics: str | None = None
    runtime: Path | None = None
    status: bool = True


class Watching(Watch):
    """Tells log, counters and status what becomes of sessions, one at a time.

    Args:
        file: where the status goes, every second and with every change; None for nowhere.
        metrics: None where nobody counts.

    Attributes:
        pids: processes whose memory is the service's.
    """

    def __init__(self, status: ServiceStatus, file: StatusFile | None, metrics: Metrics | None) -> None:
        self.log = logger(status.role)
        self.say = as_say(self.log)
        self.metrics, self._file = metrics, file
        self._status, self._lock = status, threading.RLock()  # a signal's handler may come in between
        self._over, self._written = threading.Event(), True
        self._session_began: float | None = None
        self.pids = [os.getpid()]
        self._beat = threading.Thread(target=self._beating, daemon=True)
        if file is not None:
            file.write(status)
        self._beat.start()

    @property
    def status(self) -> ServiceStatus:
        """What the document says, or would."""
        return self._status

    def update(self, **changes: Any) -> None:
        """Changes fields of the status, and writes it.

        A full disk ends no session: the document goes stale, which is seen, and the log says so once.
        """
        with self._lock:
            self._status = dataclasses.replace(self._status, **changes)
            if self._file is None:
                return
            try:
                self._file.write(self._status)
            except ConfigError as error:
                if self._written:
                    self.log.error("status not written", **error_fields(error))
                self._written = False
            else:
                self._written = True

    def listening(self) -> None:
        self.update(state=ServiceState.SERVING)
        self.log.info("serving", endpoint=self._status.endpoint, model=self._status.model)

    def session_started(self) -> None:
        self._session_began = time.monotonic()
        if self.metrics is not None:
            self.metrics.session_started()
        self.log.info("session started")
        self.update(running=1)

    def session_ended(self, bill: Bill | None) -> None:
        seconds = self._took()
        if self.metrics is not None:
            self.metrics.session_ended("served", seconds, bill)
        self.log.bind(**billed(bill)).info("session over", seconds=round(seconds, 3))
        self.update(running=0, served=self._status.served + 1)

    def session_failed(self, error: MpcInferError) -> None:
        fields = error_fields(error)
        if self._session_began is not None:
            seconds = self._took()
            if self.metrics is not None:
                self.metrics.session_ended("failed", seconds)
        self.log.warning("session failed", **fields)
        self.update(running=0, failed=self._status.failed + 1, last_error=_said(fields))

    def close(self) -> None:
        """Takes the status document away; safe to repeat."""
        self._over.set()
        self._beat.join()
        if self._file is not None:
            self._file.remove()

    def _took(self) -> float:
        began, self._session_began = self._session_began, None
        return 0.0 if began is None else time.monotonic() - began

    def _beating(self) -> None:
        while not self._over.wait(BEAT_S):
            memory = memory_of(self.pids)
            if self.metrics is not None:
                self.metrics.set_memory(private=memory.private, shared=memory.shared)
            self.update(private_bytes=memory.private, shared_bytes=memory.shared)


def port_of(endpoint: str) -> str:
    """What tells one service of a machine from another: the port of its tcp://host:port."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", endpoint.rpartition(":")[2])[:64] or "_"


def billed(bill: Bill | None) -> Fields:
    """What a log says of a bill."""
    if bill is None:
        return {}
    total = bill.total
    fields: Any = {name: getattr(total, name) for name in _BILLED}
    return fields


@contextmanager
def watching(status: ServiceStatus, how: Watched) -> Generator[Watching]:
    """A service that is watched for the length of a block, and leaves no document behind.

    A request to end (SIGTERM) leaves the block as SystemExit with status 0: so a service manager ends one.

    Raises:
        ConfigError: the log, the counters' endpoint or the runtime folder cannot be used.
    """
    configure(how.log, how.level, file=how.log_file)
    with ExitStack() as stack:
        stack.callback(silence)
        metrics = None
        if how.metrics is not None:
            metrics = Metrics(status.role)
            metrics.serves(version=status.version, model=status.model, plan=status.plan)
            stack.enter_context(MetricsServer(metrics, how.metrics))
        file = _document(status, how.runtime) if how.status else None
        watched = Watching(status, file, metrics)
        stack.callback(watched.close)
        if how.status:
            stack.enter_context(_ends_in_order())
        try:
            yield watched
        except MpcInferError as error:
            watched.log.error("ended by an error", **error_fields(error))
            raise
        except (SystemExit, KeyboardInterrupt):
            watched.log.info("ended as asked")
            raise


def _document(status: ServiceStatus, runtime: Path | None) -> StatusFile:
    """Where the status goes; documents that dead services of this role left are taken away."""
    folder = runtime_folder(runtime)
    for each in status_files(folder, status.role):
        with suppress(ConfigError):
            found = each.read()
            if found is not None and found.health() is Health.STALE:
                each.remove()
    return StatusFile(status.role, status.name, folder)


@contextmanager
def _ends_in_order() -> Generator[None]:
    """SIGTERM leaves the block in order, in the main thread."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _said(fields: Fields) -> str:
    return ": ".join(part for part in (fields.get("error"), fields.get("message")) if part)
