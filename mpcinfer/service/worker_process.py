"""The front's side of a worker: a process of its own, told what to do on its input, heard on its output.

Lines are JSON, both ways:

    front -> worker   what it is to be, once                 {"terms": {...}}
                      whom to serve, once                    {"serve": {"client": key, ...}, "name": n}
    worker -> front   {"event": "forked", "pid": n} where it was, {"event": "ready"},
                      {"event": "listening", "ports": {...}}, {"event": "in"},
                      {"event": "over", ...}, {"event": "failed", "error": class, "message": text}

The end of its input ends a worker, so that none outlives its front.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any, Protocol, cast, runtime_checkable

from mpcinfer.service.process_memory import ProcessMemory
from mpcinfer.service.worker import State
from parties.errors import ConfigError

_MOST_LINE_BYTES = 1 << 16
_READ_BYTES = 1 << 16


@runtime_checkable
class Process(Protocol):
    """What a worker runs in: a `subprocess.Popen`, or a fork that looks like one.

    Attributes:
        pid: 0 while that is not known.
        returncode: once `wait` has seen its end.
    """

    pid: int
    returncode: int | Any

    @property
    def stdin(self) -> IO[bytes] | None:
        """Of the process; here to be written."""
        ...

    @property
    def stdout(self) -> IO[bytes] | None:
        """Of the process; here to be read."""
        ...

    def send_signal(self, number: int, /) -> None:
        """Raises ProcessLookupError where it is gone."""
        ...

    def kill(self) -> None:
        """At once."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Its status. Raises TimeoutExpired."""
        ...


def start_process(command: Sequence[str]) -> Process:
    """A process of its own for a worker."""
    return subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C in the terminal is the front's to pass on
    )


class WorkerProcess:
    """A worker.

    Args:
        process: of it.
        terms: what it is told first.

    Attributes:
        pid: of the process; 0 while that is not known.
        host: None, for the front's own.
        state: as far as was heard.
        exit_code: once it ended.
    """

    def __init__(self, process: Process, terms: dict[str, Any]) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._rest = b""
        self.pid, self.state, self.exit_code = process.pid, State.STARTING, None
        self.host: str | None = None
        self._tell({"terms": terms})

    @property
    def descriptor(self) -> int:
        """Has something to read when the worker said something or ended."""
        return self._output

    def serve(self, parties: dict[str, str], name: str) -> None:
        """Whom to serve: public keys by role."""
        self.state = State.SERVING
        self._tell({"serve": parties, "name": name})

    def events(self) -> list[dict[str, Any]]:
        """What it said since the last call; at last `{"event": "ended", "code": c}`."""
        if self.state is State.ENDED:
            return []
        said = self._read()
        *lines, self._rest = (self._rest + (said or b"")).split(b"\n")
        events = [event for line in lines if (event := _event(line)) is not None]
        for event in events:
            if event["event"] == "forked":
                self.pid = self._process.pid = event["pid"]
            if event["event"] == "ready" and self.state is State.STARTING:
                self.state = State.READY
        if said is None or len(self._rest) > _MOST_LINE_BYTES:
            events.append(self._ended())
        return events

    def private_bytes(self) -> int:
        """Memory that it shares with nobody; 0 once it is gone."""
        with suppress(ConfigError):
            return ProcessMemory.of(self.pid).private
        return 0

    def end(self, *, at_once: bool = False) -> None:
        """Asks it to end, or ends it."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)

    def close(self, timeout_s: float) -> None:
        """Ends it, if it has not, and waits until it has; safe to repeat."""
        with suppress(OSError):
            self._input.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self.state = State.ENDED

    def _read(self) -> bytes | None:
        """What came; None at the end."""
        try:
            return os.read(self._output, _READ_BYTES) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def _ended(self) -> dict[str, Any]:
        self.close(timeout_s=5.0)
        self.exit_code = self._process.returncode
        return {"event": "ended", "code": self.exit_code}

    def _tell(self, document: dict[str, Any]) -> None:
        with suppress(OSError):  # it is gone: its output says so
            self._input.write(json.dumps(document).encode() + b"\n")
            self._input.flush()


def _event(line: bytes) -> dict[str, Any] | None:
    """What a line says; None for anything else that something may have printed."""
    try:
        said: object = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict) or not isinstance(cast(dict[str, Any], said).get("event"), str):
        return None
    return cast(dict[str, Any], said)
