"""A process that has imported what workers need, and forks one whenever its front asks.

    python -m mpcinfer.service.fork_server mpcinfer.service.serving_worker 3 fss   started by a front alone

Importing takes most of a worker's start; a fork has it at once, and shares those pages of memory. The front
asks over a socket: a byte with two descriptors, of the worker's input and output. The number of the process
is said on that output. A fork is a child of the front, not of this process: see `forking.ForkServer`.

This process only imports. It has no key, no client and no share, draws nothing, and starts no pool of
threads, which a fork would not have.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from mpcinfer.service.forking import WORKER
from mpcinfer.suites.registry import SUITES


def main() -> None:
    """Forks until the front is gone; in a fork, is a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = importlib.import_module(sys.argv[1])
    for name in sys.argv[3:]:
        SUITES[name].load()
    gc.freeze()  # a collection in a fork leaves these pages shared
    with socket.socket(fileno=int(sys.argv[2])) as front:
        while descriptors := _asked(front):
            if _forked(*descriptors):
                break
            for each in descriptors:
                os.close(each)
        else:
            return
    worker.main()


def _asked(front: socket.socket) -> list[int]:
    """The descriptors of the next worker's input and output; none where the front is gone."""
    said, descriptors, _, _ = socket.recv_fds(front, 1, 2)
    return descriptors if said else []


def _forked(its_input: int, its_output: int) -> bool:
    """True in the fork, with its input and output in place."""
    try:
        between = os.fork()
    except OSError:  # no room for a process: the front sees that the output ends
        return False
    if between:
        os.waitpid(between, 0)
        return False
    _fork_and_end(its_output)
    os.dup2(its_input, 0)
    os.dup2(its_output, 1)
    os.close(its_input)
    os.close(its_output)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(WORKER, encoding="ascii")
    return True


def _fork_and_end(its_output: int) -> None:
    """Returns in the fork alone, when its parent has ended and the front has adopted it."""
    parent = os.getpid()
    try:
        worker = os.fork()
        if worker:
            os.write(its_output, json.dumps({"event": "forked", "pid": worker}).encode() + b"\n")
    except OSError:
        os._exit(1)
    if worker:
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.001)


if __name__ == "__main__":
    main()
