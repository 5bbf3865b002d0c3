"""kill -9 of one process of a session."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import numpy as np

from bench.faults.outcome import NotSurvived
from bench.faults.place import Place


def moment_s(place: Place, draw: np.random.Generator) -> float:
    """Seconds from the start of a session, anywhere within it."""
    return float(draw.uniform(0.0, place.length_s))


def victim_of(place: Place, role: str, draw: np.random.Generator) -> tuple[int, str]:
    """The worker that has the session, or any of the role's where none has it yet; and which it is."""
    busy = place.service.busy(role)
    if busy:
        return busy[int(draw.integers(len(busy)))], "in a session"
    workers = place.service.workers(role)
    if not workers:
        return 0, "none there"
    return workers[int(draw.integers(len(workers)))], "ready or starting"


def kill_worker(role: str, place: Place, draw: np.random.Generator) -> str:
    """Of a front's workers."""
    command = place.begin()
    time.sleep(moment_s(place, draw))
    victim, which = victim_of(place, role, draw)
    if victim:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    return f"worker {which}: {place.finish(command)}"


def kill_serving_worker(place: Place, draw: np.random.Generator) -> str:
    """The process that serves a session."""
    return kill_worker("server", place, draw)


def kill_dealing_worker(place: Place, draw: np.random.Generator) -> str:
    """The process that deals for a session."""
    return kill_worker("dealer", place, draw)


def kill_front(role: str, place: Place, draw: np.random.Generator) -> str:
    """A front, which is started again at once."""
    command = place.begin()
    time.sleep(moment_s(place, draw))
    place.service.kill(role)
    place.service.start(role)
    return place.finish(command)


def kill_server_front(place: Place, draw: np.random.Generator) -> str:
    """The server's."""
    return kill_front("server", place, draw)


def kill_dealer_front(place: Place, draw: np.random.Generator) -> str:
    """The dealer's."""
    return kill_front("dealer", place, draw)


def kill_fork_server(place: Place, draw: np.random.Generator) -> str:
    """What workers of one of the fronts are forked from."""
    command = place.begin()
    time.sleep(moment_s(place, draw))
    roles = sorted(place.service.fronts)
    if victim := place.service.fork_server(roles[int(draw.integers(len(roles)))]):
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    return place.finish(command)


def kill_client(place: Place, draw: np.random.Generator) -> str:
    """A client."""
    command = place.begin()
    time.sleep(moment_s(place, draw))
    which = "in a session" if place.service.busy("server") else "on its way"
    command.send(signal.SIGKILL)
    place.commands.ended(command, 60.0)
    if command.status == -signal.SIGKILL:
        return f"client {which}: killed"
    if command.status != 0:
        raise NotSurvived(f"status {command.status}")
    return "answered before"
