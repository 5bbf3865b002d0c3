"""Sources of a party's correlations, run by run, each used once.

A run is one forward pass: so many tokens from a position on. Both parties ask for the same runs in the same
order; the dealer compares what they ask.
"""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from parties.errors import CorrelationExhausted, PeerClosed, PeerMismatch
from parties.link import Link
from parties.meter import SERVER
from parties.randomness import Randomness
from protocols.fss.preprocessing.file_stream import FileStream, Reader
from protocols.fss.preprocessing.seeds import PartySeeds, RunStreams, WeightStreams, weight_streams
from protocols.fss.preprocessing.transport import WINDOW_BYTES, Dealt, Inbox, Part
from protocols.kernels.aes import Hash
from protocols.trust import naming_the_dealer

RUNS = "deal.runs"
END = {"end": True}
"""A party's last word to the dealer."""
MAX_RUNS = 4096


@dataclass(frozen=True, slots=True, order=True)
class RunShape:
    """A forward pass of `tokens` tokens, the first at position `start`; the last `rows` have results."""

    start: int
    tokens: int
    rows: int = 1

    @property
    def end(self) -> int:
        return self.start + self.tokens


@dataclass(frozen=True, slots=True, eq=False)
class RunCorrelations:
    """What one party needs for one run.

    Attributes:
        gates: for the online run.
        linear: for the offline run; empty at the client.
        streams: what the party draws itself.
        hash: the public hash that the run's keys are made with.
        dealt: how much the dealer sent for the run, to both parties.
    """

    gates: Reader
    linear: Reader
    streams: RunStreams
    hash: Hash
    dealt: Dealt

    def close(self) -> None:
        """Gives up what was not read; safe to repeat."""
        self.gates.close()
        self.linear.close()


class CorrelationSource(ABC):
    """Hands out correlations.

    Attributes:
        weight_streams: what draws the masks of the weights, at the server; None at the client.
        limit: the most tokens a session over this source can hold; None where nothing bounds it.
        on_demand: whether any run can be asked for at any time.
        first_tokens: of the run that a conversation begins with; None where it may have any number.
    """

    weight_streams: WeightStreams | None
    limit: int | None = None
    on_demand: bool = True
    first_tokens: int | None = None

    @abstractmethod
    def check(self, runs: Sequence[RunShape]) -> None:
        """Whether `request` of these runs can be fulfilled; nothing is used up.

        Raises:
            CorrelationExhausted, ConfigError: it cannot.
        """

    @abstractmethod
    def request(self, runs: Sequence[RunShape]) -> None:
        """Asks for runs; all that were asked for before must have been collected."""

    @abstractmethod
    def collect(self) -> RunCorrelations:
        """The next run that was asked for, when it is complete."""

    @abstractmethod
    def linear_ahead(self, later: int) -> Randomness | None:
        """What this party draws for linear layers in the run so many after the one collected last, 0 for that
        one itself; see `PartySeeds.linear_ahead`. None where no such run can come."""

    @abstractmethod
    def close(self) -> None:
        """Ends the source; safe to repeat."""


class DealerSource(CorrelationSource):
    """Correlations from a dealer in a process of its own, streamed to disk by a thread while the party goes
    on.

    Args:
        rank: of this party.
        link: to the dealer; seeds have not come yet. It is not closed here.
        on_bytes: is told of what arrives, from that thread.
        window_bytes: as at the dealer.

    Raises:
        PeerClosed, PeerTimeout: the dealer went away or is silent; the message says that it is the dealer.
    """

    def __init__(
        self,
        rank: int,
        link: Link,
        *,
        on_bytes: Callable[[int], None] | None = None,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        with naming_the_dealer():
            self._seeds = PartySeeds.receive(link, rank)
        self._link, self._hash = link, self._seeds.public_hash()
        self.weight_streams = weight_streams(self._seeds.weights) if rank == SERVER else None
        self._inbox = Inbox(link, rank, on_bytes=on_bytes, window_bytes=window_bytes)
        self._number = 0
        self._thread: threading.Thread | None = None
        self._arrived: queue.SimpleQueue[tuple[Dealt, dict[Part, FileStream]] | BaseException] = (
            queue.SimpleQueue()
        )
        self._failed: BaseException | None = None
        self._stopped = threading.Event()

    def check(self, runs: Sequence[RunShape]) -> None:
        """A dealer makes whatever is asked for."""

    def request(self, runs: Sequence[RunShape]) -> None:
        """See `CorrelationSource.request`; returns at once."""
        if self._stopped.is_set():
            raise CorrelationExhausted("the session with the dealer is over")
        if self._thread is not None:
            self._thread.join()
        assert self._arrived.empty(), "the runs before were not collected"
        numbered = [[self._number + i, run.start, run.tokens, run.rows] for i, run in enumerate(runs)]
        with naming_the_dealer():
            self._link.send_document({"runs": numbered}, RUNS)
        self._thread = threading.Thread(target=self._receive, args=(len(runs),), daemon=True)
        self._thread.start()

    def collect(self) -> RunCorrelations:
        """See `CorrelationSource.collect`; waits for the dealer.

        Raises:
            PeerError: the dealer went away, is silent, or sent what it should not; so again every time after.
        """
        if self._failed is None:
            arrived = self._arrived.get()
            if not isinstance(arrived, BaseException):
                return self._correlations(*arrived)
            self._failed = arrived
        with naming_the_dealer():
            raise self._failed

    def linear_ahead(self, later: int) -> Randomness:
        return self._seeds.linear_ahead(self._number - 1 + later)

    def _correlations(self, dealt: Dealt, file_streams: dict[Part, FileStream]) -> RunCorrelations:
        """What arrived, as one run's correlations."""
        streams = self._seeds.streams(self._number)
        self._number += 1
        gates, linear = (file_streams[part].reader() for part in Part)
        return RunCorrelations(gates, linear, streams, self._hash, dealt)

    def close(self) -> None:
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        while not self._arrived.empty():
            left = self._arrived.get()
            if not isinstance(left, BaseException):
                for file_stream in left[1].values():
                    file_stream.close()
        with suppress(PeerClosed):  # where it is gone already there is nothing left to end
            self._link.send_document(END, RUNS)

    def _receive(self, count: int) -> None:
        """The thread: nobody else uses the link until it is joined."""
        try:
            for _ in range(count):
                run = self._inbox.receive_run(lambda: not self._stopped.is_set())
                if run is None:
                    return
                self._arrived.put(run)
        except BaseException as error:
            self._arrived.put(error)


def asked_runs(document: dict[str, object], first: int, max_context: int) -> list[RunShape] | None:
    """What a party asks the dealer for; None when it ends the session.

    Args:
        first: the number that the next run must have.
        max_context: the most tokens a run may reach.

    Raises:
        PeerMismatch: it is no request, repeats a run or leaves the maximum context.
    """
    if document == END:
        return None
    items = document.get("runs")
    if not isinstance(items, list) or not 1 <= len(cast(list[object], items)) <= MAX_RUNS:
        raise PeerMismatch(f"expected 1 to {MAX_RUNS} runs, or the end")
    runs: list[RunShape] = []
    for number, item in enumerate(cast(list[object], items), first):
        match item:
            case [int() as got, int() as start, int() as tokens, int() as rows] if got == number:
                run = RunShape(start, tokens, rows)
            case _:
                raise PeerMismatch(f"expected run {number}, got {item!r}")
        if start < 0 or tokens < 1 or run.end > max_context:
            raise PeerMismatch(
                f"run {number}: {tokens} tokens from {start} on, with a maximum context of {max_context}"
            )
        if not 1 <= rows <= tokens:
            raise PeerMismatch(f"run {number}: results of {rows} of {tokens} tokens")
        runs.append(run)
    return runs
