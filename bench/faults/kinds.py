"""The kinds of faults."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.faults import clock, disk, killing, proxying, slow, vanishing
from bench.faults.place import Place, place_of
from bench.faults.service import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of fault.

    Attributes:
        what: in a few words.
        fault: runs a session with a fault at a random moment of it; what was seen. Raises NotSurvived where
            somebody else hangs, ends without a named error, or has a wrong answer or bill.
        place: a service to try it at.
        needs_dealer: whether plans without a dealer cannot have it.
        why_not: why it cannot be tried here; empty where it can.
    """

    what: str
    fault: Callable[[Place, np.random.Generator], str]
    place: Callable[[Path, Setting], AbstractContextManager[Place]] = place_of
    needs_dealer: bool = False
    why_not: Callable[[], str] = lambda: ""


KINDS = {
    "serving-worker": Kind(what="kill -9 of a server's worker", fault=killing.kill_serving_worker),
    "dealing-worker": Kind(
        what="kill -9 of a dealer's worker", fault=killing.kill_dealing_worker, needs_dealer=True
    ),
    "server-front": Kind(what="kill -9 of the server's front", fault=killing.kill_server_front),
    "dealer-front": Kind(
        what="kill -9 of the dealer's front", fault=killing.kill_dealer_front, needs_dealer=True
    ),
    "fork-server": Kind(what="kill -9 of what workers are forked from", fault=killing.kill_fork_server),
    "client": Kind(what="kill -9 of the client", fault=killing.kill_client),
    "proxy": Kind(what="kill -9 of the proxy", fault=proxying.kill_proxy),
    "slow-worker": Kind(
        what="a worker stands still for a while", fault=slow.stop_worker, place=slow.impatient_place
    ),
    "slow-client": Kind(
        what="a client stands still for a while", fault=slow.stop_client, place=slow.impatient_place
    ),
    "slow-reader": Kind(
        what="a client reads a byte a second", fault=slow.slow_reader, place=slow.impatient_place
    ),
    "half-open": Kind(
        what="a client's machine is gone without a word",
        fault=vanishing.vanish,
        place=vanishing.two_machines,
        why_not=vanishing.why_not,
    ),
    "full-disk": Kind(
        what="no room for the dealer's store",
        fault=disk.fill,
        place=disk.small_disk,
        needs_dealer=True,
        why_not=disk.why_not,
    ),
    "clock": Kind(
        what="the wall clock jumps by a day",
        fault=clock.jump,
        place=clock.shifted_place,
        why_not=clock.why_not,
    ),
}
PROCESSES = (
    *("serving-worker", "dealing-worker", "server-front", "dealer-front", "fork-server"),
    *("client", "proxy"),
)
"""Kinds that end a process."""
