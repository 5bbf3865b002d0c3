"""Runs both parties of an OT protocol in two threads, and keeps what went over the link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parties.bill import BillRow
from parties.link import Link
from parties.local import local_pair
from parties.randomness import InsecureTestRandom
from parties.threads import run_two_threads
from parties.trace import Trace
from protocols.two_party.ot.two_party_ot import TwoPartyOt

Side = Callable[[TwoPartyOt], Any]


@dataclass(frozen=True, eq=False)
class Run:
    """What came of it.

    Attributes:
        results: of both parties, by rank.
        ots: both sides of the OTs.
        base, bill: of the base OTs, and of what came after.
        messages: the payload of all messages, by the rank of who sent them.
    """

    results: tuple[Any, Any]
    ots: tuple[TwoPartyOt, TwoPartyOt]
    base: BillRow
    bill: BillRow
    messages: tuple[list[bytes], list[bytes]]


def run(first: Side, second: Side | None = None, seed: int = 1) -> Run:
    """Both sides' calls after a set-up; one function for both if they make the same."""
    sides = (first, second or first)
    traces = [Trace(end, keep_cache=True) for end in local_pair()]
    ots: dict[int, TwoPartyOt] = {}
    rows: dict[str, BillRow] = {}

    def party(link: Link) -> Any:
        rank = link.rank
        assert rank is not None
        with link.meter.span("base"):
            ot = ots[rank] = TwoPartyOt.set_up(link, InsecureTestRandom(2 * seed + rank))
        with link.meter.span("ot"):
            result = sides[rank](ot)
        rows.update({row.label: row for row in link.meter.bill().rows})
        return result

    results = run_two_threads(party, party, channels=(traces[0], traces[1]))
    sent = [[part for message in trace.sent for part in message[1:]] for trace in traces]
    nothing = BillRow(label="ot")
    return Run(results, (ots[0], ots[1]), rows["base"], rows.get("ot", nothing), (sent[0], sent[1]))
