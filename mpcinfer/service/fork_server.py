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
        while asked := _asked(front):
            if _is_worker(*asked):
                break
        else:
            return
    worker.main()


def _asked(front: socket.socket) -> list[int] | None:
    """The descriptors of the next worker's input and output; None where the front is gone."""
    said, descriptors, _, _ = socket.recv_fds(front, 1, 2)
    return descriptors if said else None


def _is_worker(its_input: int, its_output: int) -> bool:
    """Forks; whether this is the fork, with its input and output in place.

    Twice, and the process between ends at once: so the fork is a child of the front.
    """
    between = os.fork()
    if between:
        os.close(its_input)
        os.close(its_output)
        os.waitpid(between, 0)
        return False
    parent = os.getpid()
    if worker := os.fork():
        os.write(its_output, json.dumps({"event": "forked", "pid": worker}).encode() + b"\n")
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.001)
    os.dup2(its_input, 0)
    os.dup2(its_output, 1)
    os.close(its_input)
    os.close(its_output)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(WORKER, encoding="ascii")
    return True


if __name__ == "__main__":
    main()
