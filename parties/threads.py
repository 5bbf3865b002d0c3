"""Both parties as two threads of one process, for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from parties.channel import Channel
from parties.link import Link
from parties.local import GRACE_S, local_pair
from parties.meter import CLIENT, SERVER, Meter

S = TypeVar("S")
C = TypeVar("C")


def run_two_threads(
    server: Callable[[Link], S],
    client: Callable[[Link], C],
    *,
    channels: tuple[Channel, Channel] | None = None,
    timeout_s: float = GRACE_S,
) -> tuple[S, C]:
    """Runs one function a party on connected links; what they returned, the server's first.

    A party's link is closed as soon as its function ends, however it ends, so the other party fails with
    PeerClosed if it still waits. The error that happened first is raised when both have ended; the other
    party's, if it had one, is noted on it.

    Args:
        server, client: given the party's link, rank 0 and 1, each with a meter of its own.
        channels: the server's and the client's end; an in-process pair where None.
        timeout_s: the deadline of the in-process pair.
    """
    ends = channels or local_pair(timeout_s)
    links = [Link(ends[rank], Meter(), rank) for rank in (SERVER, CLIENT)]
    results: dict[int, object] = {}
    errors: list[tuple[str, BaseException]] = []

    def run(rank: int, name: str, function: Callable[[Link], object]) -> None:
        with links[rank] as link:
            try:
                results[rank] = function(link)
            except BaseException as error:
                errors.append((name, error))

    threads = [
        threading.Thread(target=run, args=(SERVER, "server", server), daemon=True),
        threading.Thread(target=run, args=(CLIENT, "client", client), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        (name, first), *others = errors
        first.add_note(f"raised by the {name}")
        for other_name, other in others:
            first.add_note(f"afterwards the {other_name} raised {type(other).__name__}: {other}")
        raise first
    return results[SERVER], results[CLIENT]  # pyright: ignore[reportReturnType]
