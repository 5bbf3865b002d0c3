"""Dealing for a model: its program walked on masks, run after run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from mpcinfer.models.state_cache import cache_of
from mpcinfer.sessions.session import rewind_cache
from mpcinfer.sessions.session_config import MOST_IDLE_S, idle_timeout
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.public_prefix import bring_at_dealer
from parties.errors import PeerMismatch
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.randomness import Randomness, SystemRandom
from protocols.fss.executors.dealing import Dealing, Writer
from protocols.fss.executors.preparation import Offline
from protocols.fss.executors.products_ahead import ProductsAhead
from protocols.fss.plans import is_faithful
from protocols.fss.preprocessing.matrix import Products
from protocols.fss.preprocessing.seeds import DealerSeeds, drawn_masks, weight_streams
from protocols.fss.preprocessing.source import END, RUNS, RunShape, asked_runs
from protocols.fss.preprocessing.transport import WINDOW_BYTES, Dealt, Outbox, Part, counted

_MAX_REQUEST_BYTES = 1 << 17
REVERSIBLE = 64
"""Passes that were dealt for a state and never run, at most: of so many the dealer keeps what was before."""


@dataclass(frozen=True, slots=True, eq=False)
class Writers:
    """Where a run's correlations go: gates' to the server and to the client, linear layers' to the server."""

    server: Writer
    client: Writer
    linear: Writer


class RunDealer(ABC):
    """Where the correlations of a session's runs come from."""

    @abstractmethod
    def deal(self, number: int, run: RunShape, writers: Writers) -> Dealt:
        """Writes the correlations of one run, the next of the session."""


class ModelDealer(RunDealer):
    """Deals the runs of a model in order. Of its cache of keys and values it has the masks.

    Args:
        program: what is run.
        seeds: both parties'; the dealer draws what they draw.
    """

    def __init__(self, program: Program, seeds: DealerSeeds) -> None:
        self._program, self._seeds = program, seeds
        self._matrices, self._hash = program.matrices(), seeds.server.public_hash()
        self._masks = drawn_masks(weight_streams(seeds.server.weights))
        bring = bring_at_dealer(self._masks)
        self._cache = program.cache(self._matrices, bring, reversible=REVERSIBLE)
        self._ahead: ProductsAhead | None = None
        if not program.sharing.encrypted:
            self._ahead = ProductsAhead(
                self._walk_ahead, self._linear_stream, self._masks, program.batch.size
            )

    def deal(self, number: int, run: RunShape, writers: Writers) -> Dealt:
        """Writes the correlations of one run.

        Args:
            number: counts the runs of a session; no two have the same.
            run: one that starts before the end of the run before makes that end be forgotten.

        Raises:
            PeerMismatch: the run starts beyond what was dealt before, or within a public prefix.
            CorrelationExhausted: a run of that number, or a later one, was dealt before.
        """
        if not self._program.public_prefix <= run.start <= self._cache.length:
            raise PeerMismatch(f"a run from token {run.start} on, with {self._cache.length} dealt before")
        rewind_cache(self._cache, run.start)
        sizes = [0, 0, 0]

        def tally(index: int) -> Callable[[int], None]:
            def add(count: int) -> None:
                sizes[index] += count

            return add

        server, client = self._seeds.server.streams(number), self._seeds.client.streams(number)
        dealing = Dealing(
            Meter(timed=False),
            writers=(counted(writers.server, tally(0)), counted(writers.client, tally(1))),
            linear=counted(writers.linear, tally(2)),
            streams=(server.gates, client.gates),
            linear_streams=(server.linear, client.linear),
            hash=self._hash,
            products=self._products(number, run),
            exact_truncation=is_faithful(self._program.plan),
        )
        self._program.walk(dealing, self._matrices, self._cache, run.tokens, rows=run.rows)
        return Dealt(*sizes)

    def _products(self, number: int, run: RunShape) -> Products:
        """Of a run; nobody asks for one where layers multiply under encryption."""
        if self._ahead is None:
            return Products(self._masks)
        return self._ahead.take(number, run.tokens, run.rows)

    def _walk_ahead(self, executor: Offline, tokens: int, rows: int) -> None:
        self._program.walk(executor, self._matrices, cache_of(self._program.plan.chunk), tokens, rows=rows)

    def _linear_stream(self, number: int) -> Randomness:
        return self._seeds.client.linear_ahead(number)


def serve_fss(
    server: Link,
    client: Link,
    program: Program,
    *,
    randomness: Randomness | None = None,
    window_bytes: int = WINDOW_BYTES,
) -> tuple[int, int]:
    """Deals one session; returns when both parties end it.

    Args:
        server, client: links to the parties, with no rank: nothing is charged here.
        randomness: makes the seeds; the operating system's where None.
        window_bytes: how much is sent to a party ahead of what it has taken.

    Returns:
        Runs and bytes dealt.

    Raises:
        PeerMismatch: the parties ask for different runs, or for impossible ones.
        PeerClosed, PeerTimeout: a party went away or said nothing before the channel's deadline.
    """
    seeds = DealerSeeds.fresh(randomness or SystemRandom())
    send_seeds(server, client, seeds)
    return serve_runs(
        server, client, ModelDealer(program, seeds), program.max_context, window_bytes=window_bytes
    )


def send_seeds(server: Link, client: Link, seeds: DealerSeeds) -> None:
    """To each party its own."""
    seeds.server.send(server)
    seeds.client.send(client)


def serve_runs(
    server: Link, client: Link, dealer: RunDealer, max_context: int, *, window_bytes: int = WINDOW_BYTES
) -> tuple[int, int]:
    """The runs of a session whose seeds are sent; as `serve_fss`."""
    boxes = [Outbox(link, window_bytes=window_bytes) for link in (server, client)]
    writers = Writers(
        server=boxes[SERVER].writer(Part.GATES),
        client=boxes[CLIENT].writer(Part.GATES),
        linear=boxes[SERVER].writer(Part.LINEAR),
    )
    number = total = 0
    while True:
        runs = _next_runs(server, client, number, max_context)
        if runs is None:
            return number, total
        for run in runs:
            dealt = dealer.deal(number, run, writers)
            for box in boxes:
                box.end_run(dealt)
            number, total = number + 1, total + sum(dealt.to_plain())
        for box in boxes:
            box.drain()


def _next_runs(server: Link, client: Link, first: int, max_context: int) -> list[RunShape] | None:
    """What both parties ask for; None at the end of the session, which the server says: its client may keep
    its own connection open long after that, and nothing more is dealt."""
    with idle_timeout(server, MOST_IDLE_S):
        asked = server.recv_document(RUNS, _MAX_REQUEST_BYTES)
    if asked == END:
        return None
    other = client.recv_document(RUNS, _MAX_REQUEST_BYTES)
    if asked != other:
        raise PeerMismatch(f"the server asks for {asked}, the client for {other}")
    return asked_runs(asked, first, max_context)
