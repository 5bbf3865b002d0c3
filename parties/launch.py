"""Starts parties as processes of their own, and leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from parties.errors import ConfigError, PeerClosed, PeerError

_LAST_LINES = 20
_ENDS_WITH_PARENT = "MPCINFER_ENDS_WITH_PARENT"
_REQUESTS_TO_END = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)


def end_with_parent() -> bool:
    """In a process that `Processes` started: ends it when the one that did is gone. Else does nothing.

    Returns:
        whether `Processes` started this one.
    """
    if not os.environ.pop(_ENDS_WITH_PARENT, None):
        return False
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    return True


def _outlive_nobody() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@dataclass
class _Child:
    """A process we started, and the last lines it wrote."""

    name: str
    process: subprocess.Popen[str]
    lines: deque[str] = field(default_factory=lambda: deque[str](maxlen=_LAST_LINES))
    reader: threading.Thread | None = None


class Processes:
    """Processes that live as long as a `with` block.

    Output and errors of a process are read line by line. When the block ends well, processes may finish by
    themselves for `grace_s`; after that, and whenever it ends with an error, they are terminated, and
    killed if that does not help. Only processes started here are ever ended. In the main thread, a request to
    end this process (SIGTERM, SIGHUP) leaves the block as SystemExit, so that it too leaves none behind.
    SIGKILL cannot be answered; after it end those that called `end_with_parent`, others when their peers are
    gone.

    Args:
        on_line: is told of every line a process writes; called from reader threads.
        grace_s: how long processes may take to finish, to end after a peer noticed their failure, and
            again to terminate.
    """

    def __init__(self, on_line: Callable[[str], None] | None = None, grace_s: float = 5.0) -> None:
        self._on_line, self._grace_s = on_line, grace_s
        self._handlers: dict[int, Any] = {}
        self._children: list[_Child] = []

    def start(self, name: str, command: Sequence[str]) -> int:
        """Starts a process; its id. Raises ConfigError where the command cannot be run."""
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,  # ends with this process, however that ends
                env={**os.environ, _ENDS_WITH_PARENT: "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on
            )
        except OSError as error:
            raise ConfigError(f"cannot start the {name} process: {error}") from error
        child = _Child(name, process)
        child.reader = threading.Thread(target=self._read, args=(child,), daemon=True)
        self._children.append(child)
        child.reader.start()
        return process.pid

    def any_failed(self) -> bool:
        """Whether a process has ended with a failure."""
        return any(child.process.poll() not in (None, 0) for child in self._children)

    @contextmanager
    def naming_the_dead(self) -> Generator[None]:
        """Turns a peer's silence or absence into the name and the last words of the process that died.

        Raises:
            PeerClosed: instead of another PeerError, when a process has ended with a failure.
        """
        try:
            yield
        except PeerError as error:
            dead = self._dead()
            if dead is None:
                raise
            words = "\n".join(dead.lines) or "it said nothing"
            raise PeerClosed(f"the {dead.name} process {_ending(dead.process)}: {words}") from error

    def __enter__(self) -> Processes:
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, _leave) for number in _REQUESTS_TO_END}
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self.settle()
        finally:
            self._end_all()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def settle(self) -> None:
        """Lets the processes finish by themselves, for as long as the grace period lasts."""
        deadline = time.monotonic() + self._grace_s
        for child in self._children:
            self._wait(child, deadline)

    def _end_all(self) -> None:
        """Terminates what still runs, and kills what does not heed it; an impatient Ctrl-C kills at once."""
        running = [child for child in self._children if child.process.poll() is None]
        try:
            for child in running:
                child.process.terminate()
            self.settle()
        finally:
            for child in running:
                if child.process.poll() is None:
                    child.process.kill()
                    child.process.wait()
        for child in self._children:
            if child.process.stdin is not None:
                child.process.stdin.close()
            if child.reader is not None:
                child.reader.join(self._grace_s)

    def _read(self, child: _Child) -> None:
        assert child.process.stdout is not None
        with child.process.stdout as stream:
            for line in stream:
                child.lines.append(line.rstrip())
                if self._on_line is not None:
                    self._on_line(line.rstrip())

    def _wait(self, child: _Child, deadline: float) -> bool:
        """Whether the process has ended by the deadline."""
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _dead(self) -> _Child | None:
        """The first process that failed, given a moment for the end to be noticed."""
        deadline = time.monotonic() + self._grace_s
        while time.monotonic() < deadline:
            for child in self._children:
                if child.process.poll() not in (None, 0):
                    if child.reader is not None:
                        child.reader.join(self._grace_s)
                    return child
            time.sleep(0.01)
        return None


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _ending(process: subprocess.Popen[str]) -> str:
    code = process.returncode
    return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
