"""Where a party gets correlated randomness from, and how far that source is to be trusted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import torch

from parties.errors import CorrelationExhausted, InsecureRefused, PeerClosed
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.randomness import SystemRandom
from parties.wire import RingArray, Spec
from protocols.additive.correlations import Request, Stream, corrections
from protocols.additive.dealer import REQUESTS, SEED, WINDOW_BYTES
from protocols.arithmetic.shapes import Shape
from protocols.seeding import SEED_BYTES, SEED_LABEL
from protocols.tensors import from_wire
from protocols.trust import Trust, naming_the_dealer

INSECURE_NOTE = (
    "INSECURE: the server was the dealer: it can decrypt everything; its dealing cost 0 offline bytes"
)


@dataclass(frozen=True, slots=True)
class Correlation:
    """This party's shares of one correlation.

    Attributes:
        masks: the random factors, which hide what is opened.
        results: what was computed of them.
    """

    masks: list[torch.Tensor]
    results: list[torch.Tensor]


class CorrelationSource(ABC):
    """Hands out correlations, each exactly once, in the same order at both parties."""

    trust: ClassVar[Trust]

    @abstractmethod
    def take(self, request: Request) -> Correlation:
        """The next correlation; charges its offline bytes to the current label."""

    @abstractmethod
    def weight_mask(self, name: str, shape: Shape) -> torch.Tensor | None:
        """A weight's mask at the server; None at the client, whose share of it is zero."""

    @abstractmethod
    def prefetch(self, requests: Iterable[Request]) -> None:
        """Announces what will be taken next, in order, so that no round trip to the dealer is waited for."""

    def expect(self, requests: Iterable[Request]) -> None:
        """`prefetch`, unless what comes next has been announced already."""
        if not self.announced:
            self.prefetch(requests)

    @property
    @abstractmethod
    def announced(self) -> int:
        """How many correlations are announced and not yet taken."""

    @abstractmethod
    def close(self) -> None:
        """Ends the session with the dealer; safe to repeat."""


class DealerSource(CorrelationSource):
    """Correlations from a dealer in a process of its own.

    Args:
        rank: 0 server (receives corrections), 1 client (only its seed).
        link: to the dealer.
        meter: charged with what the dealer sends, to either party: both bills are the same.
        window_bytes: how much the dealer sends ahead: at most as much as is set there.

    Raises:
        PeerClosed, PeerTimeout: the dealer went away or is silent; the message says that it is the dealer.
    """

    trust = Trust.TRUSTED_DEALER

    def __init__(self, rank: int, link: Link, meter: Meter, window_bytes: int = WINDOW_BYTES) -> None:
        self._rank, self._link, self._meter = rank, link, meter
        self._announced: deque[Request] = deque()
        self._received = self._acknowledged = 0
        self._window_bytes = window_bytes
        self._closed = False
        [seed] = self._recv([Spec(8, (SEED_BYTES,))], SEED)
        self._stream = Stream(seed.tobytes())
        with meter.span(SEED_LABEL, SEED_LABEL):
            meter.charge_offline(SERVER, SEED_BYTES)
            meter.charge_offline(CLIENT, SEED_BYTES)

    def take(self, request: Request) -> Correlation:
        self._expect(request)
        masks = self._stream.masks(request)
        results = self._fetch(request) if self._rank == SERVER else self._stream.results(request)
        self._meter.charge_offline(SERVER, request.offline_bytes_to_server)
        return Correlation(masks, results)

    def weight_mask(self, name: str, shape: Shape) -> torch.Tensor | None:
        return self._stream.weight_mask(name, shape) if self._rank == SERVER else None

    def prefetch(self, requests: Iterable[Request]) -> None:
        announced = list(requests)
        self._announced.extend(announced)
        if self._rank == SERVER and announced:
            self._tell({"requests": [request.to_plain() for request in announced]})

    @property
    def announced(self) -> int:
        return len(self._announced)

    def close(self) -> None:
        if not self._closed and self._rank == SERVER:
            with suppress(PeerClosed):  # where it is gone already there is nothing left to end
                self._link.send_document({"end": True}, REQUESTS)
        self._closed = True

    def _expect(self, request: Request) -> None:
        """What is taken must be what was announced; without an announcement it is asked for now."""
        if self._closed:
            raise CorrelationExhausted("the dealer's session is closed")
        if not self._announced:
            if self._rank == SERVER:
                self._tell({"requests": [request.to_plain()]})
        elif (expected := self._announced.popleft()) != request:
            raise CorrelationExhausted(f"{self._meter.label}: announced {expected}, but {request} is needed")

    def _fetch(self, request: Request) -> list[torch.Tensor]:
        """The server's explicit shares of the results."""
        self._acknowledge(request.offline_bytes_to_server)
        specs = request.result_specs
        arrays = self._recv(specs, str(request.kind))
        self._received += request.offline_bytes_to_server
        return [from_wire(array, spec.bits) for array, spec in zip(arrays, specs, strict=True)]

    def _acknowledge(self, next_bytes: int) -> None:
        """Now and then, and always before an answer that the dealer would hold back for want of it."""
        open_bytes = self._received - self._acknowledged
        due = open_bytes > self._window_bytes // 4 or open_bytes + next_bytes > self._window_bytes
        if open_bytes and due:
            self._acknowledged = self._received
            self._tell({"received": self._received})

    def _tell(self, document: dict[str, object]) -> None:
        with naming_the_dealer():
            self._link.send_document(document, REQUESTS)

    def _recv(self, specs: Sequence[Spec], label: str) -> list[RingArray]:
        with naming_the_dealer():
            return self._link.recv(specs, label)


class InsecureServerDealer:
    """Asks for a run in which the online server is its own dealer, so that it can decrypt everything.

    Args:
        allow_insecure: must be True.

    Raises:
        InsecureRefused: it is not.
    """

    def __init__(self, *, allow_insecure: bool = False) -> None:
        if not allow_insecure:
            raise InsecureRefused(
                "the server as dealer can decrypt everything: start a dealer in a third process, "
                "or allow this insecure run explicitly"
            )


class InsecureServerSource(CorrelationSource):
    """Correlations that the server makes itself. It costs no offline bytes and hides nothing from the server.

    Args:
        client_seed: 16 bytes that both parties share.
    """

    trust = Trust.TEST_ONLY

    def __init__(self, rank: int, client_seed: bytes, meter: Meter) -> None:
        self._rank = rank
        self._client = Stream(client_seed)
        self._server = Stream(SystemRandom().draw_bytes(SEED_BYTES)) if rank == SERVER else None
        meter.notes.append(INSECURE_NOTE)

    def take(self, request: Request) -> Correlation:
        if self._server is None:
            return Correlation(self._client.masks(request), self._client.results(request))
        masks = self._server.masks(request)
        return Correlation(masks, corrections(request, masks, self._client, self._server.weight_mask))

    def weight_mask(self, name: str, shape: Shape) -> torch.Tensor | None:
        return None if self._server is None else self._server.weight_mask(name, shape)

    def prefetch(self, requests: Iterable[Request]) -> None:
        """Nothing to announce."""

    @property
    def announced(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing to end."""
