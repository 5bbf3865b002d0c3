"""A front's side of its fork server (`fork_server.py`): where workers come from on Linux."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from mpcinfer.service.worker_process import WorkerProcess

COMMAND = (sys.executable, "-m", "mpcinfer.service.fork_server")
"""Starts a fork server."""
WORKER = "mpcinfer-worker"
"""What Linux shows as the name of a fork, whose command line is its fork server's."""
_PR_SET_CHILD_SUBREAPER = 36  # of prctl(2)
_ASK_S = 5.0
_LOOK_S = 0.01
_UNKNOWN = 255


class Fork:
    """A worker's process, with as much of `subprocess.Popen` as `WorkerProcess` uses.

    Args:
        stdin, stdout: this end of its pipes.

    Attributes:
        pid: 0 until it has said which process it is.
        returncode: once `wait` has seen its end; 255 where it ended before it was there.
    """

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.stdin, self.stdout = stdin, stdout
        self.pid = 0
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        """To a fork that is not there yet, the end of its input: it ends by that."""
        if not self.pid:
            with suppress(OSError):
                self.stdin.close()
        elif self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """At once."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Its status. Raises TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None and not self._has_ended():
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a fork", timeout or 0.0)
            time.sleep(_LOOK_S)
        assert self.returncode is not None
        return self.returncode

    def _has_ended(self) -> bool:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG) if self.pid else (0, 0)
        except ChildProcessError:  # it is not this process's child yet, or never was
            pid = status = 0
        if pid:
            self.returncode = os.waitstatus_to_exitcode(status)
        elif not Path(f"/proc/{self.pid}").exists():
            self.returncode = _UNKNOWN
        return self.returncode is not None


class ForkServer:
    """Starts workers of one kind: started itself with the first, and again should it end.

    Until it is closed, this process is the parent of whatever its children leave behind, and so of forks.

    Args:
        worker: a module with a function `main`.
        suites: names of those that workers use.
        inherit: descriptors that workers keep open, under the same numbers.
    """

    def __init__(self, worker: str, suites: Collection[str], inherit: Sequence[int] = ()) -> None:
        self._worker, self._suites, self._inherit = worker, tuple(suites), tuple(inherit)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self, terms: dict[str, Any]) -> WorkerProcess:
        """A worker that was asked for; it says itself when it is there.

        Args:
            terms: what it is told first.

        Raises:
            OSError: the machine has no room for it now, or the fork server does not listen.
        """
        asking = self._listening()
        (its_input, stdin), (stdout, its_output) = os.pipe(), os.pipe()
        fork = Fork(os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb", buffering=0))
        try:
            socket.send_fds(asking, [b"f"], [its_input, its_output])
        except OSError:
            fork.stdin.close()
            fork.stdout.close()
            raise
        finally:
            os.close(its_input)
            os.close(its_output)
        return WorkerProcess(fork, terms)

    def close(self) -> None:
        """Ends the fork server; workers that are there stay. Safe to repeat."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._socket = self._process = None
        _adopt(0)

    def _listening(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._socket is None:
            _adopt(1)
            ours, theirs = socket.socketpair()
            ours.settimeout(_ASK_S)
            with theirs:
                self._process = subprocess.Popen(
                    [*COMMAND, self._worker, str(theirs.fileno()), *self._suites],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *self._inherit),
                    start_new_session=True,  # a Ctrl-C in the terminal is the front's to pass on
                )
            self._socket = ours
        return self._socket


def _adopt(orphans: int) -> None:
    """Whether those whose parent ends become children of this process."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, orphans, 0, 0, 0)
