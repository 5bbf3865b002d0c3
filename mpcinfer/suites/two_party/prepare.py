"""Making correlations for conversations to come: both parties at once, each into a folder of its own.

client -> server   prepare.wanted   {"lengths": [T, ...], "count": N}: what conversations take
both               the correlations of N conversations, as in a session
both               prepare.made     {"count": N}: all of them are on this party's disk
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import torch

from mpcinfer.models.fold import as_run
from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.session_config import SessionConfig, greet, require_ranges
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.arithmetic.foreseen import ForeseenSession
from mpcinfer.suites.requests import Kept
from mpcinfer.suites.two_party.ring import ring_bits
from parties.bill import Bill, BillRow
from parties.errors import ConfigError, PeerMismatch
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter, Phase
from protocols.arithmetic.shapes import Shape
from protocols.one_time import new_folder
from protocols.two_party.bundle_store import BundleWriter, Charge, KeptFolder, Manifest, WeightDigest
from protocols.two_party.correlations import Correlations, Parts, Request
from protocols.two_party.counting import CountingArithmetic
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.primitives import FRAC_BITS
from protocols.two_party.registry import resolve
from protocols.two_party.source import SPAN, TwoPartySource

_WANTED, _MADE = "prepare.wanted", "prepare.made"
MOST_BUNDLES = 1000
_MAX_BYTES = 1 << 15


def prepare(link: Link, session_config: SessionConfig, kept: Kept) -> int:
    """As `Suite.prepare`."""
    require_ranges(session_config.public)
    plan, public, meter = session_config.plan, session_config.public, link.meter
    new_folder(kept.out)
    agreed = greet(link, f"{plan.digest()}, to disk", public.digest())
    with meter.phase(Phase.CONTROL), meter.span("session", "control"):
        lengths, count = _agree(link, public, kept)
    making = _Making(link, session_config)
    for index in range(count):
        with closing(BundleWriter(kept.out, index)) as writer:
            making.bundle(lengths, writer)
        if kept.on_progress is not None:
            kept.on_progress(index + 1, count, making.kept_bytes)
    with meter.phase(Phase.CONTROL), meter.span("session", "control"):
        link.send_document({"count": count}, _MADE)
        theirs = link.recv_document(_MADE, max_bytes=64).get("count")
    if theirs != count:
        raise PeerMismatch(f"the other party kept {theirs!r} bundles, {count} were made")
    Manifest(
        id=agreed.id.hex(),
        rank=SERVER if link.rank == SERVER else CLIENT,
        plan=plan.digest(),
        model=public.digest(),
        lengths=list(lengths),
        count=count,
        command=kept.command,
        weights=making.digest.hex if link.rank == SERVER else "",
    ).save(kept.out)
    return count


def skip(folder: Path, to: int) -> tuple[int, int]:
    """As `Suite.skip`."""
    with closing(KeptFolder(folder)) as kept:
        before = kept.next
        kept.skip_to(to)
        return to - before, kept.manifest.count - to


def _agree(link: Link, public: PublicModel, kept: Kept) -> tuple[Sequence[int], int]:
    """Lengths of passes, and conversations: what the client wants."""
    if link.rank == CLIENT:
        if problem := _problem(public, list(kept.lengths), kept.count):
            raise ConfigError(problem)
        link.send_document({"lengths": list(kept.lengths), "count": kept.count}, _WANTED)
        return kept.lengths, kept.count
    document = link.recv_document(_WANTED, _MAX_BYTES)
    lengths, count = document.get("lengths"), document.get("count")
    if problem := _problem(public, lengths, count):
        raise PeerMismatch(f"the client asks for correlations that cannot be made: {problem}")
    return cast("list[int]", lengths), cast("int", count)


def _problem(public: PublicModel, lengths: object, count: object) -> str:
    """What is wrong with passes and a number of conversations; empty where nothing is."""
    if type(count) is not int or not 1 <= count <= MOST_BUNDLES:
        return f"count: expected 1 to {MOST_BUNDLES} conversations, got {count!r}"
    tokens = cast("list[object]", lengths) if isinstance(lengths, list) else []
    if not tokens or not all(type(each) is int and each >= 1 for each in tokens):
        return "passes: expected numbers of tokens, 1 or more each"
    total, room = sum(cast("list[int]", tokens)), public.config.context
    return f"{total} tokens, the context has room for {room}" if total > room else ""


class _Making(Correlations):
    """Both parties' making of bundles, one after the other; rows that a bundle leaves serve the next."""

    def __init__(self, link: Link, session_config: SessionConfig) -> None:
        plan, public = session_config.plan, session_config.public
        config, weights = as_run(public.config, session_config.weights, folds=plan.fold)
        suite, ranges = resolve(plan), dict(public.ranges)
        bits, batch = ring_bits(config, ranges), session_config.batch
        self._meter, self.digest, self.kept_bytes = link.meter, WeightDigest(), 0
        self._billed: dict[str, BillRow] = {}
        self._source = TwoPartySource(link)
        executor = TwoPartyArithmetic(link, self, bits, FRAC_BITS)
        SecureBackend(executor, suite, config.vocabulary, ranges, batch, config.types).load(config, weights)
        self._counting = CountingArithmetic(Meter(timed=False), bits, FRAC_BITS)
        self._foreseen = ForeseenSession(self._counting, suite, config, ranges, batch)

    def hold(self, name: str, weight: torch.Tensor | None, shape: Shape) -> None:
        self.digest.add(name, weight, shape)
        self._source.hold(name, weight, shape)

    def announce(self, requests: Iterable[Request]) -> None:
        self._source.announce(requests)

    def take(self, request: Request) -> Parts:
        return self._source.take(request)

    def bundle(self, lengths: Sequence[int], writer: BundleWriter) -> None:
        """One conversation's."""
        self._foreseen.rewind(0)
        for tokens in lengths:
            self._foreseen.step(tokens)
            requests = list(self._counting.requests)
            self._counting.requests.clear()
            self.announce(requests)
            for request in requests:
                writer.add(request, self.take(request))
        writer.end(self._charges(self._meter.bill()))
        self.kept_bytes += writer.size_bytes

    def _charges(self, bill: Bill) -> list[Charge]:
        """What was sent since the last bundle."""
        charges: list[Charge] = []
        for row in bill.rows:
            head, _, kind = row.label.partition(".")
            if head != SPAN or not kind:
                continue
            old = self._billed.get(kind, BillRow(label=row.label))
            charge = Charge(
                kind,
                row.offline_bytes_to_server - old.offline_bytes_to_server,
                row.offline_bytes_to_client - old.offline_bytes_to_client,
                row.offline_rounds - old.offline_rounds,
            )
            self._billed[kind] = row
            if charge.to_server or charge.to_client:
                charges.append(charge)
        return charges
