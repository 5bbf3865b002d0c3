"""Correlations that the two parties make themselves, some of what was announced at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch

from parties.errors import CorrelationExhausted
from parties.link import Link
from parties.meter import Meter, Phase
from parties.randomness import SystemRandom
from protocols.arithmetic.shapes import Shape
from protocols.trust import Trust
from protocols.two_party.correlations import Correlations, Kind, Parts, Request
from protocols.two_party.matrices import Matrices
from protocols.two_party.ot.two_party_ot import TwoPartyOt
from protocols.two_party.products import make_products
from protocols.two_party.recipe import Maker
from protocols.two_party.recipes import RECIPES, by_transfer, cot_counts
from protocols.two_party.vectors import Vectors
from protocols.two_party.windows import by_kind, window

SPAN = "correlations"
"""What all that is sent for them is called in bills."""


@contextmanager
def offline(meter: Meter, kind: str) -> Generator[None]:
    """Charges what is sent inside to the making of correlations of a kind, wherever in a model it happens."""
    with meter.root(), meter.phase(Phase.OFFLINE), meter.span(SPAN, SPAN), meter.span(kind):
        yield


class TwoPartySource(Correlations):
    """One party's side. Its messages go over the parties' link, between those of the computation.

    Args:
        link: to the other party, after the handshake.
        on_kind: is told which kind is made next, each time.

    Raises:
        PeerError: the other party went away or sent what it should not.
    """

    trust: ClassVar[Trust] = Trust.TWO_PARTY

    def __init__(self, link: Link, on_kind: Callable[[Kind], None] | None = None) -> None:
        assert link.rank is not None
        self._on_kind = on_kind
        self._meter, random = link.meter, SystemRandom()
        with offline(self._meter, "keys"):
            ot = TwoPartyOt.set_up(link, random)
        self._maker = Maker(link.rank, ot, Vectors(link, ot, random), random)
        self._matrices = Matrices(link, random)
        self._announced: deque[deque[Request]] = deque()
        self._made: deque[tuple[Request, Parts]] = deque()

    def hold(self, name: str, weight: torch.Tensor | None, shape: Shape) -> None:
        self._matrices.hold(name, weight)

    def announce(self, requests: Iterable[Request]) -> None:
        """What will be taken after all that was announced before; made apart from that."""
        coming = deque(requests)
        if coming:
            self._announced.append(coming)

    def make_all(self) -> None:
        """Makes everything that was announced, before any of it is taken."""
        while self._announced:
            self._make()

    def give_up(self) -> None:
        """Forgets what was announced and made, and not taken. Both parties do it at the same time."""
        self._announced.clear()
        self._made.clear()

    def take(self, request: Request) -> Parts:
        if not self._made:
            if not self._announced:
                self.announce([request])
            self._make()
        expected, parts = self._made.popleft()
        if expected != request:
            raise CorrelationExhausted(f"{self._meter.label}: announced {expected}, but {request} is needed")
        return parts

    def _make(self) -> None:
        """The next window."""
        coming = self._announced[0]
        requests = [coming.popleft() for _ in range(window(list(coming)))]
        if not coming:
            self._announced.popleft()
        for sender, count in enumerate(cot_counts(requests)):
            self._maker.ot.reserve(sender, count)
        made: list[Parts] = [()] * len(requests)
        for (kind, bits, transfer), places in by_kind(requests, by_transfer).items():
            if self._on_kind is not None:
                self._on_kind(kind)
            with offline(self._meter, str(kind)):
                group = [requests[place] for place in places]
                for place, parts in zip(places, self._of_kind(kind, bits, transfer, group), strict=True):
                    made[place] = parts
        self._made.extend(zip(requests, made, strict=True))

    def _of_kind(self, kind: Kind, bits: int, transfer: bool, group: Sequence[Request]) -> list[Parts]:
        if kind in RECIPES:
            sizes = [request.elements for request in group]
            parts = RECIPES[kind].make(self._maker, sum(sizes), bits)
            pieces = [torch.split(part, sizes) for part in parts]
            return [
                tuple(piece[i].reshape(*request.shapes[0], *piece[i].shape[1:]) for piece in pieces)
                for i, request in enumerate(group)
            ]
        if transfer:
            return make_products(self._maker, group, bits)
        return self._matrices.make(group)
