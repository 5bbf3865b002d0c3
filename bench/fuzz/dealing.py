"""Scenes with a dealer: what it reads of two parties, and what they read of it."""

from __future__ import annotations

import threading
from contextlib import closing
from functools import lru_cache

from bench.fuzz.agreeing import config, small
from bench.fuzz.channels import Said
from bench.fuzz.scenes import Links, Scene, Side
from mpcinfer.audit.victims import victim
from mpcinfer.roles.dealer import deal_session
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session_config import announce
from mpcinfer.suites.fss.connect import encoded_weights, fss_over
from mpcinfer.suites.fss.dealing import serve_fss
from mpcinfer.suites.fss.program import Program
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter
from parties.randomness import InsecureTestRandom
from protocols.additive.correlations import Kind, Request
from protocols.additive.dealer import serve_dealer
from protocols.additive.source import DealerSource as AdditiveSource
from protocols.fss.plans import NAME
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.preprocessing.source import DealerSource, RunShape

_IDS = (1, 2, 3)
_RUNS = (RunShape(0, 2), RunShape(2, 1))
_REQUESTS = (
    Request(Kind.MUL, ((2, 3), (3,))),
    Request(Kind.LINEAR, ((2, 3), (3, 4)), "layer0.weight"),
    Request(Kind.TRUNCATION, ((5,),), bits=16),
    Request(Kind.CARRY_NODE, ((9,),), bits=4),
)


@lru_cache
def program() -> Program:
    """Of the small model."""
    public = small()
    return Program.of(config().plan, public.config, public.ranges, 8)


@lru_cache
def weights() -> dict[str, Matrix]:
    """Of the small model, in fixed point."""
    return encoded_weights(program(), dict(victim().weights))


def _deal(links: Links) -> object:
    return deal_session(links[0], links[1])


def _ask_for_runs(links: Links) -> None:
    for link in links:
        announce(link, NAME, **program().to_document())
    sources = [DealerSource(rank, link) for rank, link in enumerate(links)]
    for run in _RUNS:
        for source in sources:
            source.request([run])
        for source in sources:
            source.collect().close()
    for source in sources:
        source.close()


def _deal_fixed(links: Links) -> object:
    """With seeds that are the same each time: both parties draw theirs from them."""
    return serve_fss(links[0], links[1], program(), randomness=InsecureTestRandom(1))


def _deal_additive(links: Links) -> object:
    return serve_dealer(links[0], links[1], randomness=InsecureTestRandom(2))


def _ask_for_correlations(links: Links) -> None:
    server, client = (AdditiveSource(rank, link, Meter(), 256) for rank, link in enumerate(links))
    server.prefetch(_REQUESTS)
    for request in _REQUESTS:
        server.take(request)
    client.close()
    server.close()


def _take_correlations(links: Links) -> None:
    source = AdditiveSource(SERVER, links[0], Meter(), 256)
    source.prefetch(_REQUESTS)
    for request in _REQUESTS:
        source.take(request)
    source.close()


def _give_correlations(links: Links) -> object:
    """The dealer, to one party alone; the other's end goes nowhere."""
    return serve_dealer(links[0], Link(Said([]), Meter(), None), randomness=InsecureTestRandom(2))


def _serve(links: Links) -> object:
    link, dealer = links
    with (
        closing(DealerSource(SERVER, dealer)) as source,
        closing(fss_over(link, program(), weights(), source)) as session,
    ):
        return serve_steps(link, session)


def _ask(links: Links) -> object:
    link, dealer = links
    with (
        closing(DealerSource(CLIENT, dealer)) as source,
        closing(fss_over(link, program(), None, source)) as session,
    ):
        steps = StepClient(link, session)
        steps.step(_IDS)
        bill = steps.finish()
        steps.part()
        return bill


def _around(party: Side, rank: int) -> Side:
    """An honest dealer and an honest other party, `party` of that rank, around one that is attacked."""

    def speak(links: Links) -> None:
        to_attacked, of_dealer = links
        mine, dealers = (Link(end, Meter(), None) for end in local_pair(60.0))
        mine.session = dealers.session = to_attacked.session
        pair = (dealers, of_dealer) if rank == SERVER else (of_dealer, dealers)
        dealer = threading.Thread(target=_deal_fixed, args=(pair,), daemon=True)
        dealer.start()
        party((to_attacked, mine))
        dealer.join()

    return speak


def dealing_scenes() -> list[Scene]:
    """Dealers of both kinds, a party of each, and whole sessions of one pass."""
    two: tuple[None, None] = (None, None)
    return [
        Scene("dealer reads what two parties want", _deal, _ask_for_runs, two, weight=0.4),
        Scene("additive dealer reads requests", _deal_additive, _ask_for_correlations, two),
        Scene("server reads the additive dealer", _take_correlations, _give_correlations, (None,)),
        Scene("server in a session", _serve, _around(_ask, CLIENT), (SERVER, None), weight=0.4),
        Scene("client in a session", _ask, _around(_serve, SERVER), (CLIENT, None), weight=0.4),
    ]
