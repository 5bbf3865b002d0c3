"""Commands that run beside this program, each a process: its end, its status, and what it said."""

from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_S = 600.0


@dataclass(slots=True, eq=False)
class Command:
    """A process.

    Attributes:
        out, err: files with what it said.
        status: once it ended; negative for a signal.
    """

    pid: int
    out: Path
    err: Path
    status: int | None = None

    def send(self, number: int) -> None:
        """A signal, where it is still there."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Commands:
    """Starts them, by way of `bench.faults.warmed`.

    Args:
        folder: for what they say.
        within: words before the command, for example to start in a network namespace.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], within: Sequence[str] = ()) -> None:
        self._folder, self._numbers = folder, itertools.count()
        self._process = subprocess.Popen(
            [*within, sys.executable, "-m", "bench.faults.warmed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        )
        self._running: dict[int, Command] = {}
        self._rest = b""
        self._wait_for("ready", _START_S)

    @property
    def pid(self) -> int:
        """Of the process that starts them."""
        return self._process.pid

    def start(self, *words: str) -> Command:
        """`mpcinfer WORDS`."""
        number = next(self._numbers)
        out, err = (self._folder / f"{words[0]}-{self.pid}-{number}.{kind}" for kind in ("out", "err"))
        assert self._process.stdin is not None
        asked = {"words": words, "out": str(out), "err": str(err)}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        command = Command(self._wait_for("pid", _START_S), out, err)
        self._running[command.pid] = command
        return command

    def ended(self, command: Command, timeout_s: float) -> bool:
        """Whether it has ended; waits for it at most so long."""
        deadline = time.monotonic() + timeout_s
        while command.status is None and time.monotonic() < deadline:
            self._hear(min(1.0, max(0.0, deadline - time.monotonic())))
        return command.status is not None

    def close(self) -> None:
        """Ends all."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _wait_for(self, what: str, timeout_s: float) -> Any:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for said in self._hear(1.0):
                if what in said:
                    return said[what]
        raise TimeoutError(f"the process that starts commands did not say {what!r}")

    def _hear(self, timeout_s: float) -> list[dict[str, Any]]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], timeout_s)[0]:
            return []
        came = os.read(descriptor, 1 << 16)
        if not came:
            raise RuntimeError("the process that starts commands is gone")
        *lines, self._rest = (self._rest + came).split(b"\n")
        documents: list[dict[str, Any]] = [json.loads(line) for line in lines]
        for said in documents:
            if "ended" in said:
                self._running.pop(said["ended"]).status = said["status"]
        return documents
