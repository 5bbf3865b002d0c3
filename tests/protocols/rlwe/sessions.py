"""Two parties in two threads, and what they were charged."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from parties.errors import PeerClosed
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.randomness import InsecureTestRandom, Randomness

H = TypeVar("H")
E = TypeVar("E")


def both(
    holder: Callable[[Link, Randomness], H], evaluator: Callable[[Link, Randomness], E]
) -> tuple[H, E, Meter]:
    """Runs the client as holder and the server as evaluator; the meter is the server's."""
    ends, meters = local_pair(60.0), (Meter(timed=False), Meter(timed=False))

    def run(rank: int, work: Callable[[Link, Randomness], object]) -> object:
        with Link(ends[rank], meters[rank], rank) as link, meters[rank].phase(Phase.OFFLINE):
            return work(link, InsecureTestRandom(5 + rank))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, CLIENT, holder)
        second = pool.submit(run, SERVER, evaluator)
        for each in (first, second):  # who found the peer gone did not fail first
            if not isinstance(each.exception(), PeerClosed | None):
                each.result()
        return first.result(), second.result(), meters[SERVER]  # pyright: ignore[reportReturnType]


def offline_bytes(meter: Meter) -> tuple[int, int]:
    """To the server and to the client."""
    rows = meter.bill().rows
    return sum(r.offline_bytes_to_server for r in rows), sum(r.offline_bytes_to_client for r in rows)
