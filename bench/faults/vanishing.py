"""Half-open connections: a client's machine is gone without a word, so that neither FIN nor RST arrives.

The client runs in a network namespace of its own, whose firewall drops everything from a moment on.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.faults.commands import Commands
from bench.faults.killing import moment_s
from bench.faults.outcome import NotSurvived
from bench.faults.place import Place, place_of
from bench.faults.service import Setting, until
from bench.faults.slow import SILENCE_S

_HERE, _THERE = "10.204.77.1", "10.204.77.2"
_NAME = f"mpcinfer-faults-{os.getpid()}"
_CABLE = f"mpcf{os.getpid() % 100_000}"
_DROPS = (("INPUT", "-i"), ("OUTPUT", "-o"))


@lru_cache(maxsize=1)
def why_not() -> str:
    """Why this cannot be tried here."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("iptables") is None:
        return "it takes root, ip and iptables"
    try:
        with _namespace():
            _drop("-A")
    except NotSurvived as error:
        return str(error)
    return ""


@contextmanager
def two_machines(folder: Path, setting: Setting) -> Generator[Place]:
    """A service whose clients are in another network namespace. Silent peers are waited for `SILENCE_S`."""
    options = ("--idle", f"{SILENCE_S:g}")
    own = replace(setting, host=_HERE, timeout_s=SILENCE_S, server_options=options)
    with _namespace(), place_of(folder, own) as place:
        there = Commands(place.service.folder / "said", place.service.environment, _inside())
        place.others["there"] = there
        try:
            yield place
        finally:
            there.close()


def vanish(place: Place, draw: np.random.Generator) -> str:
    """The client's machine is gone: the server's worker must end by its deadline, and others be served."""
    there = place.others["there"]
    command = there.start(*place.service.client_words())
    time.sleep(moment_s(place, draw))
    in_session = bool(place.service.busy("server"))
    _drop("-A")
    try:
        command.send(signal.SIGKILL)
        there.ended(command, 60.0)
        place.require_session()
        until(
            "workers of the vanished to end", lambda: not any(map(place.service.busy, place.service.fronts))
        )
    finally:
        _drop("-D")
    if command.status != -signal.SIGKILL:
        return "answered before"
    return "client gone in a session" if in_session else "client gone on its way"


@contextmanager
def _namespace() -> Generator[None]:
    """The other machine, and a cable to it."""
    _run("ip", "netns", "add", _NAME)
    try:
        _run("ip", "link", "add", _CABLE, "type", "veth", "peer", "name", "cable", "netns", _NAME)
        _run("ip", "address", "add", f"{_HERE}/30", "dev", _CABLE)
        _run("ip", "link", "set", _CABLE, "up")
        for words in (("address", "add", f"{_THERE}/30", "dev", "cable"), ("link", "set", "cable", "up")):
            _run("ip", "-n", _NAME, *words)
        yield
    finally:
        with suppress(NotSurvived):
            _run("ip", "netns", "delete", _NAME)
        with suppress(NotSurvived):
            _run("ip", "link", "delete", _CABLE)


def _inside() -> list[str]:
    return ["ip", "netns", "exec", _NAME]


def _drop(change: str) -> None:
    """`-A` drops all packets at the other machine's end, `-D` none any more."""
    for chain, way in _DROPS:
        _run(*_inside(), "iptables", change, chain, way, "cable", "-j", "DROP")


def _run(*words: str) -> None:
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60.0)
    if result.returncode:
        raise NotSurvived(f"{' '.join(words)}: {result.stderr.strip() or result.returncode}")
