"""Dealing from a dealer's store: bundles ahead of time, sessions from one, and live where they leave it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpcinfer.backends.parts import Pass
from mpcinfer.suites.fss.dealing import ModelDealer, RunDealer, Writers, send_seeds, serve_runs
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.stock import Schedule, Stock
from parties.errors import ConfigError
from parties.link import Link
from parties.meter import Meter
from parties.randomness import SystemRandom
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.dealing import Writer
from protocols.fss.plans import NAME, is_faithful
from protocols.fss.preprocessing.dealer_bundle import STREAMS, DealerBundle, DealerBundleWriter
from protocols.fss.preprocessing.seeds import DealerSeeds
from protocols.fss.preprocessing.source import RunShape
from protocols.fss.preprocessing.transport import Dealt

FIRST = "first"
"""In what both parties tell the dealer: tokens of the first pass, where they are known. Seeds go out before
anything is asked for, and with them it is settled which bundle the session uses."""


def serve_stocked(server: Link, client: Link, document: Mapping[str, Any], stock: Stock) -> str:
    """As `Suite.deal_from`."""
    program, tokens = Program.from_document(document), document.get(FIRST)
    bundle = _taken(program, tokens, stock) if type(tokens) is int and tokens > 0 else None
    seeds = DealerSeeds.fresh(SystemRandom()) if bundle is None else bundle.seeds
    send_seeds(server, client, seeds)
    with closing(StockedDealer(program, seeds, bundle, stock)) as dealer:
        runs, size = serve_runs(server, client, dealer, program.max_context)
        return f"{runs:,} passes, {dealer.stored:,} of them dealt ahead, {size:,} bytes"


def _taken(program: Program, tokens: int, stock: Stock) -> DealerBundle | None:
    """A bundle for a session that begins with so many tokens; None where there is none that can be read."""
    folder = stock.take(NAME, program.to_document(), tokens)
    if folder is None:
        return None
    try:
        return DealerBundle(folder)
    except ConfigError as error:
        stock.report(f"{error}; the session is dealt for live")
        return None


class StockedDealer(RunDealer):
    """Sends the runs of a bundle as long as those asked for are its own, then deals.

    What is dealt then follows from the same seeds, as the parties have no others. A run's streams are
    numbered: what the bundle has under a number that is dealt live was never sent, and will not be.

    Args:
        seeds: the bundle's; fresh ones without a bundle.
        bundle: closed with the dealer.

    Attributes:
        stored: runs that were sent from the bundle.
    """

    def __init__(
        self, program: Program, seeds: DealerSeeds, bundle: DealerBundle | None, stock: Stock
    ) -> None:
        self._program, self._seeds, self._bundle, self._stock = program, seeds, bundle, stock
        self._live: ModelDealer | None = None
        self.stored = 0
        if bundle is None:
            self._deal_live()

    def deal(self, number: int, run: RunShape, writers: Writers) -> Dealt:
        """As `RunDealer.deal`. The first run that leaves the bundle takes longer: all runs before are dealt
        again, into nowhere, for the masks of keys and values.

        Raises:
            PeerMismatch: the run starts beyond what was dealt before.
            ConfigError: the bundle cannot be read in the middle of a run, or dealing its runs again gives
                something else.
        """
        self._stock.ran(Pass(run.start, run.tokens, run.rows))
        if self._live is None and self._has(number, run):
            assert self._bundle is not None
            dealt = self._bundle.send(number, (writers.server, writers.client, writers.linear))
            self.stored += 1
            return dealt
        return self._deal_live().deal(number, run, writers)

    def close(self) -> None:
        """The bundle is gone; safe to repeat."""
        if self._bundle is not None:
            self._bundle.close()

    def _has(self, number: int, run: RunShape) -> bool:
        """Whether the bundle has a run, undamaged."""
        assert self._bundle is not None
        if number >= len(self._bundle.runs) or self._bundle.runs[number].shape != run:
            return False
        try:
            self._bundle.check(number)
        except ConfigError as error:
            self._stock.report(f"{error}; the rest of the session is dealt for live")
            return False
        return True

    def _deal_live(self) -> ModelDealer:
        """The dealer of runs that are in no bundle, where the session is by now."""
        if self._live is None:
            self._stock.live()
            self._live = ModelDealer(self._program, self._seeds)
            if self._bundle is not None:
                for number, stored in enumerate(self._bundle.runs[: self.stored]):
                    again = _Digests()
                    self._live.deal(number, stored.shape, again.writers)
                    if again.digests != stored.digests:
                        raise ConfigError(
                            "a bundle's runs, dealt again, are others: it was dealt by another version"
                        )
                self._bundle.close()
        return self._live


class _Digests:
    """Where runs go that are dealt again."""

    def __init__(self) -> None:
        self._sums = [hashlib.sha256() for _ in STREAMS]
        self.writers = Writers(*(self._writer(stream) for stream in range(len(STREAMS))))

    @property
    def digests(self) -> tuple[bytes, ...]:
        return tuple(each.digest() for each in self._sums)

    def _writer(self, stream: int) -> Writer:
        def add(data: NDArray[np.uint8]) -> None:
            self._sums[stream].update(np.ascontiguousarray(data).data)

        return add


def most_bundle_bytes(document: Mapping[str, Any], schedule: Schedule) -> int:
    """As `Suite.most_bundle_bytes`: all offline bytes of these passes, those between the parties too."""
    program = Program.from_document(document)
    counting = Counting(Meter(timed=False), exact_truncation=is_faithful(program.plan))
    matrices, cache = program.matrices(), program.cache()
    for each in schedule.shapes(program.public_prefix):
        program.walk(counting, matrices, cache, each.tokens, rows=each.rows)
    total = counting.meter.bill().total
    return total.offline_bytes_to_server + total.offline_bytes_to_client


def deal_bundle(
    document: Mapping[str, Any], schedule: Schedule, folder: Path, proceed: Callable[[], bool]
) -> int | None:
    """As `Suite.deal_bundle`."""
    program, seeds, size = Program.from_document(document), DealerSeeds.fresh(SystemRandom()), 0
    dealer = ModelDealer(program, seeds)
    with closing(DealerBundleWriter(folder)) as files:
        writers = Writers(*(files.writer(stream) for stream in range(len(STREAMS))))
        for number, each in enumerate(schedule.shapes(program.public_prefix)):
            if not proceed():
                return None
            run = RunShape(each.start, each.tokens, each.rows)
            dealt = dealer.deal(number, run, writers)
            files.end_run(run, dealt)
            size += sum(dealt.to_plain())
        files.end(seeds)
    return size
