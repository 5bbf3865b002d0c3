"""Commands of `mpcinfer` that start at once: a process that has imported everything forks one for each.

Each is a process of its own, as if it had been started by a shell, without the seconds that importing takes.

    in    {"words": ["generate", ...], "out": path, "err": path}
    out   {"pid": n}, and when that one ended {"ended": n, "status": s}: negative for a signal

The end of its input ends it and what it started.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
from typing import Any

from mpcinfer.suites.registry import SUITES

_LOOK_S = 0.01
_USED = (
    "mpcinfer.cli.main",
    "mpcinfer.proxy.app",
    "mpcinfer.proxy.model_thread",
    "mpcinfer.proxy.serving",
    "mpcinfer.roles.client",
    "mpcinfer.roles.connect",
)


def main() -> None:
    """Serves until its input ends."""
    for module in _USED:
        importlib.import_module(module)
    for suite in SUITES.values():
        suite.load()
    said, running = b"", set[int]()
    _say({"ready": True})
    while True:
        if select.select([0], [], [], _LOOK_S)[0]:
            came = os.read(0, 1 << 16)
            if not came:
                break
            *lines, said = (said + came).split(b"\n")
            for line in lines:
                running.add(pid := _start(json.loads(line)))
                _say({"pid": pid})
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                running.discard(pid)
                _say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _say(document: dict[str, Any]) -> None:
    os.write(1, json.dumps(document).encode() + b"\n")


def _start(asked: dict[str, Any]) -> int:
    """Forks a process that runs a command; its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        for descriptor, path, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, asked["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, asked["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            os.dup2(os.open(path, flags, 0o600), descriptor)
        status = _run(asked["words"])
    finally:
        os._exit(status)


def _run(words: list[str]) -> int:
    """Runs a command in this process; its status."""
    import traceback

    from mpcinfer.cli.main import main as command

    sys.argv = ["mpcinfer", *words]
    try:
        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    main()
