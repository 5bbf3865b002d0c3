"""What the making of correlations sends, without a run: the calls of `TwoPartySource`, counted."""

from __future__ import annotations

from collections.abc import Sequence

from parties.flights import Flights
from parties.meter import CLIENT, SERVER, Meter
from protocols.two_party.correlations import KEPT, Kind, Request
from protocols.two_party.matrices import TOGETHER, MatrixCosts
from protocols.two_party.ot.costs import BASE, OtCosts
from protocols.two_party.products import count_products
from protocols.two_party.recipe import Costs
from protocols.two_party.recipes import RECIPES, by_transfer, cot_counts
from protocols.two_party.source import offline
from protocols.two_party.vectors import VectorCosts
from protocols.two_party.windows import by_kind, window


class SourceCosts:
    """Charges a meter as both parties' sources do, over a session.

    Args:
        meter: of a counted run.
    """

    def __init__(self, meter: Meter) -> None:
        self._flights = Flights()
        ot = OtCosts(self._flights)
        self._meter, self._costs, self._matrices = meter, Costs(ot, VectorCosts(ot)), MatrixCosts()
        for _ in range(BASE.rounds):
            self._flights.exchange()
        self._charge("keys", BASE.to_server, BASE.to_client)

    def charge(self, requests: Sequence[Request]) -> None:
        """All of a pass, in windows as they are made."""
        left = list(requests)
        while left:
            count = window(left)
            self._charge_window(left[:count])
            left = left[count:]

    def _charge_window(self, requests: Sequence[Request]) -> None:
        for sender, count in enumerate(cot_counts(requests)):
            self._costs.ot.reserve(sender, count)
        for (kind, bits, transfer), places in by_kind(requests, by_transfer).items():
            group = [requests[place] for place in places]
            if kind in RECIPES or transfer:
                self._charge_transfers(kind, bits, group)
                continue
            self._charge_matrices(kind, group)

    def _charge_transfers(self, kind: Kind, bits: int, group: Sequence[Request]) -> None:
        before = self._costs.sent
        if kind in RECIPES:
            RECIPES[kind].count(self._costs, sum(request.elements for request in group), bits)
        else:
            count_products(self._costs, group, bits)
        after = self._costs.sent
        self._charge(str(kind), after[0] - before[0], after[1] - before[1])

    def _charge_matrices(self, kind: Kind, group: Sequence[Request]) -> None:
        sent = [each for each in map(self._matrices.count, group) if any(each)]
        if kind in (Kind.MATMUL, *KEPT):
            self._flights.answered_both_ways(len(sent))
        else:
            self._flights.answered(CLIENT, -(-len(sent) // TOGETHER))
        self._charge(str(kind), *(sum(each[way] for each in sent) for way in (SERVER, CLIENT)))

    def _charge(self, kind: str, to_server: int, to_client: int) -> None:
        """What was sent for a kind, with the rounds that this took since the charge before."""
        with offline(self._meter, kind):
            for receiver, size in ((SERVER, to_server), (CLIENT, to_client)):
                if size:
                    depth = self._flights.deepest
                    self._meter.charge_frame(receiver, payload_bytes=size, wire_bytes=0, depth=depth)
