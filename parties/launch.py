"""Starts parties as processes of their own, and leaves none behind."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from parties.errors import PeerClosed, PeerError

_LAST_LINES = 20
_DEATH_S = 1.0


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
    themselves for `patience_s`; after that, and whenever it ends with an error, they are terminated, and
    killed if that does not help. Only processes started here are ever ended.

    Args:
        on_line: is told of every line a process writes; called from reader threads.
        patience_s: how long processes may take to finish, and again to terminate.
    """

    def __init__(self, on_line: Callable[[str], None] | None = None, patience_s: float = 5.0) -> None:
        self._on_line, self._patience_s = on_line, patience_s
        self._children: list[_Child] = []

    def start(self, name: str, command: Sequence[str]) -> int:
        """Starts a process; its id."""
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on
        )
        child = _Child(name, process)
        child.reader = threading.Thread(target=self._read, args=(child,), daemon=True)
        self._children.append(child)
        child.reader.start()
        return process.pid

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
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        deadline = time.monotonic() + (self._patience_s if kind is None else 0.0)
        for child in self._children:
            self._wait(child, deadline)
        for child in self._children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + self._patience_s
        for child in self._children:
            if not self._wait(child, deadline):
                child.process.kill()
                child.process.wait()
        for child in self._children:
            if child.reader is not None:
                child.reader.join(self._patience_s)

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
        deadline = time.monotonic() + _DEATH_S
        while time.monotonic() < deadline:
            for child in self._children:
                if child.process.poll() not in (None, 0):
                    if child.reader is not None:
                        child.reader.join(_DEATH_S)
                    return child
            time.sleep(0.01)
        return None


def _ending(process: subprocess.Popen[str]) -> str:
    code = process.returncode
    return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
