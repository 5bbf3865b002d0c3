"""Server, client and dealer as three threads, and a record of what the two parties say to each other."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from parties.channel import MAX_MESSAGE_BYTES, Channel
from parties.link import Link
from parties.local import local_pair
from parties.meter import Meter
from parties.randomness import InsecureTestRandom
from parties.wire import Buffer, Frame, decode, unpack
from protocols.additive.crypten.executor import CrypTenArithmetic, crypten_executor
from protocols.additive.dealer import Dealt, serve_dealer
from protocols.additive.source import InsecureServerDealer
from protocols.plan import Plan

BEAVER = get_plan("crypten").replace(linear="beaver", comparison="words")
"""The library's own way, as far as a plan can say it."""
XORED = ("and", "b2a", "b2a.packed", "carry.node")
ALONE = ("weight", "carry.leaf")
Body = Callable[[CrypTenArithmetic], Any]


class Recorder(Channel):
    """Keeps the frames of either direction."""

    def __init__(self, inner: Channel) -> None:
        self._inner = inner
        self.sent: list[Frame] = []
        self.received: list[Frame] = []

    def send(self, parts: Sequence[Buffer]) -> None:
        self.sent.append(decode([bytes(part) for part in parts]))
        self._inner.send(parts)

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        parts = self._inner.recv(most_bytes)
        self.received.append(decode(parts))
        return parts

    def close(self) -> None:
        self._inner.close()

    def wire_bytes(self, parts: Sequence[Buffer]) -> int:
        return self._inner.wire_bytes(parts)


def arrays(frame: Frame) -> list[torch.Tensor]:
    """A frame's arrays as int64."""
    unpacked = [unpack(raw, spec) for raw, spec in zip(frame.payload, frame.specs, strict=True)]
    return [torch.from_numpy(array.astype("uint64").view("int64")) for array in unpacked]


@dataclass
class Run:
    """What happened: by rank, the result or the error, the meter and the frames."""

    results: list[Any] = field(default_factory=lambda: [None, None])
    errors: list[BaseException | None] = field(default_factory=lambda: [None, None, None])
    meters: list[Meter] = field(default_factory=lambda: [Meter(), Meter()])
    channels: list[Recorder] = field(default_factory=list)
    dealt: Dealt | None = None

    @property
    def bill(self) -> Bill:
        """The server's; checked to be the client's too, seconds and wire bytes aside."""
        mine, theirs = (meter.bill() for meter in self.meters)
        for row in (*mine.rows, *theirs.rows):
            row.seconds = None
        assert {row.label: row for row in mine.rows} == {row.label: row for row in theirs.rows}
        return mine

    def row(self, label: str) -> Any:
        """A label's row of the bill."""
        return next(row for row in self.bill.rows if row.label == label)

    def opened(self, label: str) -> list[torch.Tensor]:
        """What was opened under a frame label, array by array, as 64-bit words.

        Both parties' messages put together, as sums or by XOR; where a message is itself what is opened,
        because nobody holds another share of it, the messages one by one. Of a linear layer the server alone
        can put the halves together: its step's result must be its share of the layer's input.
        """
        reason = label.rsplit("/", 1)[1]
        sent, received = (
            [array for frame in frames if frame.label == label for array in arrays(frame)]
            for frames in (self.channels[0].sent, self.channels[0].received)
        )
        if reason.startswith("linear"):
            return [array + self.results[0] for array in received]
        if reason in ALONE:
            return [*sent, *received]
        pairs = zip(sent, received, strict=True)
        return [a ^ b if reason in XORED else a + b for a, b in pairs]


def shared_key(purpose: str) -> bytes:
    """What the handshake gives both parties."""
    return hashlib.blake2b(purpose.encode(), digest_size=16).digest()


def run_parties(
    body: Body,
    client: Body | None = None,
    *,
    plan: Plan = BEAVER,
    dealer_seed: int = 1,
    dealer: Callable[[Link, Link], Dealt] | None = None,
    insecure: bool = False,
    check: bool = True,
) -> Run:
    """Runs `body` at the server and at the client (or `client` there). Raises the first error if `check`."""
    run = Run()
    ends, dealer_ends = local_pair(), [local_pair() for _ in range(2)]
    run.channels = [Recorder(end) for end in ends]
    serve = dealer or (lambda s, c: serve_dealer(s, c, randomness=InsecureTestRandom(dealer_seed)))

    def party(rank: int) -> None:
        source = InsecureServerDealer(allow_insecure=True) if insecure else None
        with (
            Link(run.channels[rank], run.meters[rank], rank) as link,
            Link(dealer_ends[rank][0], Meter(), None) as to_dealer,
            crypten_executor(link, source or to_dealer, plan, shared_key) as executor,
        ):
            run.results[rank] = (client if rank and client else body)(executor)

    def deal() -> None:
        with Link(dealer_ends[0][1], Meter(), None) as a, Link(dealer_ends[1][1], Meter(), None) as b:
            run.dealt = serve(a, b)

    def guarded(index: int, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            run.errors[index] = error

    steps = [lambda: party(0), lambda: party(1), *([] if insecure else [deal])]
    threads = [threading.Thread(target=guarded, args=pair) for pair in enumerate(steps)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = next((error for error in run.errors if error is not None), None)
    if check and first is not None:
        raise first
    return run


@pytest.fixture
def parties() -> Callable[..., Run]:
    """`run_parties`."""
    return run_parties


@pytest.fixture
def generator() -> torch.Generator:
    """Values of tests; never of protocols."""
    return torch.Generator().manual_seed(7)
