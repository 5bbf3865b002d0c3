"""Parties that are slow or stand still."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.faults import leftovers
from bench.faults.killing import moment_s, victim_of
from bench.faults.outcome import NotSurvived
from bench.faults.place import Place, place_of
from bench.faults.service import Setting, until
from bench.faults.slow_way import SlowWay

SILENCE_S = 20.0
"""Of the services and clients here."""
_PATIENT_S = 6 * SILENCE_S
_SHORT_S, _LONG_S = 3.0, SILENCE_S + 15.0
_LONG_OF = 4  # one stop in so many is longer than peers wait


@contextmanager
def impatient_place(folder: Path, setting: Setting) -> Generator[Place]:
    """A service that waits for silent peers for `SILENCE_S`."""
    options = ("--idle", f"{SILENCE_S:g}")
    with place_of(folder, replace(setting, timeout_s=SILENCE_S, server_options=options)) as place:
        yield place


def _stop(pid: int, draw: np.random.Generator) -> str:
    """SIGSTOP, a while, SIGCONT; how long the while was."""
    is_long = int(draw.integers(_LONG_OF)) == 0
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(_LONG_S if is_long else _SHORT_S)
        os.kill(pid, signal.SIGCONT)
    return "beyond the deadline" if is_long else "for a while"


def stop_worker(place: Place, draw: np.random.Generator) -> str:
    """SIGSTOP of a serving worker, and SIGCONT."""
    command = place.begin(place.service.client_words(SILENCE_S))
    time.sleep(moment_s(place, draw))
    victim, which = victim_of(place, "server", draw)
    how = _stop(victim, draw) if victim else "not"
    return _seen(place.finish(command), f"worker {which} stopped {how}")


def stop_client(place: Place, draw: np.random.Generator) -> str:
    """SIGSTOP of a client, and SIGCONT."""
    command = place.begin(place.service.client_words(SILENCE_S))
    time.sleep(moment_s(place, draw))
    how = _stop(command.pid, draw)
    return _seen(place.finish(command), f"client stopped {how}")


def _seen(outcome: str, what: str) -> str:
    """A short stop must change nothing."""
    if what.endswith("for a while") and outcome != "answered":
        raise NotSurvived(f"{what}: {outcome}")
    return f"{what}: {outcome}"


def slow_reader(place: Place, draw: np.random.Generator) -> str:
    """A client behind a way that, from a moment on, brings it a byte a second. It waits for long, for a lost
    connection, too; the service must not, and must serve others meanwhile."""
    service = place.service
    with SlowWay(lambda: _listening(place)) as way:
        command = place.begin(service.client_words(_PATIENT_S, way.host))
        time.sleep(moment_s(place, draw))
        way.slow.set()
        place.require_session()
        until("the slow client's worker to end", lambda: not service.busy("server"))
    return f"slow client: {place.finish(command)}"


def _listening(place: Place) -> set[int]:
    """Ports at which the server's front and its workers listen."""
    service = place.service
    pids = [service.fronts["server"].pid, *service.workers("server")]
    return {port for pid in pids for port in leftovers.ports(pid, leftovers.LISTENING)}
