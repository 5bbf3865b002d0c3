"""Scenes before the first pass: handshakes, the model's public part, and the terms of a session."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import torch

from bench.fuzz.scenes import Links, Scene
from mpcinfer.audit.victims import victim
from mpcinfer.models.batch import Batch
from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.public_exchange import fetch_public, give_public
from mpcinfer.sessions.session import PrivateSession
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.arithmetic.agreed_batch import agreed_batch
from mpcinfer.suites.fss.connect import agreed_program
from mpcinfer.suites.registry import get_plan
from mpcinfer.suites.requests import Kept
from mpcinfer.suites.two_party.prepare import _agree
from parties.admission import (
    ADMISSION_LABEL,
    MOST_ADMISSION_BYTES,
    TICKET_BYTES,
    Request,
    _admitted,
    _ask,
    answer_here,
)
from parties.handshake import Hello, shake_hands
from parties.meter import CLIENT, SERVER, Phase
from parties.randomness import InsecureTestRandom

_PLAN = get_plan("fss")
_HELLOS = {
    "server": Hello(role="server", plan="plan", model="model"),
    "client": Hello(role="client", plan="plan", model="model"),
    "dealer": Hello(role="dealer", plan=None, model=None),
    "party": Hello(role="client", plan="plan", model="model", parent=bytes(16)),
}
_SEEDS = {name: number for number, name in enumerate(_HELLOS)}
_FRONT = "tcp://192.0.2.1:7100"
_STEPS = ((0, 3, 1), (3, 1, 1), (2, 2, 2))


@lru_cache
def small() -> PublicModel:
    """The public part of a small model."""
    return PublicModel.of(victim())


def config(weights: Mapping[str, torch.Tensor] | None = None, size: int = 1) -> SessionConfig:
    """A session of that model."""
    batch = Batch.of(size, equal_lengths=True)
    return SessionConfig(plan=_PLAN, public=small(), weights=weights, batch=batch, max_context=8, first=3)


def _hands(me: str, other: str, links: Links) -> object:
    role = _HELLOS[other].role
    return shake_hands(links[0], _HELLOS[me], role, InsecureTestRandom(_SEEDS[me]))


class Steps(PrivateSession):
    """A session that computes nothing: what an exchange of steps does to its length."""

    def __init__(self) -> None:
        self._length = self._end = 0

    @property
    def length(self) -> int:
        return self._length

    @property
    def context(self) -> int:
        return 16

    @property
    def notes(self) -> list[str]:
        return []

    @property
    def prepared_end(self) -> int:
        return self._end

    def rewind(self, length: int) -> None:
        assert 0 <= length <= max(self._length, self._end), f"{length} of {self._length}"
        self._length = self._end = length

    def prepare(self, lengths: Sequence[int], rows: int = 1) -> None:
        self._end += sum(lengths)

    def advance(self, ids: Sequence[int] | None, count: int, rows: int = 1) -> torch.Tensor | None:
        assert self._length + count <= self.context, f"{count} after {self._length}"
        self._length = self._end = self._length + count
        return None if ids is None else torch.zeros(rows, 2)


def _steps_of_client(links: Links) -> None:
    steps = StepClient(links[0], Steps())
    for start, tokens, rows in _STEPS:
        steps.rewind(start)
        steps.prepare([tokens])
        steps.step(range(tokens), rows)
    steps.finish()
    steps.part()


def _wanted(rank: int, links: Links) -> object:
    return _agree(links[0], small(), Kept(out=Path(), lengths=(2, 1), count=3, command=""))


def _asks_a_front(links: Links) -> object:
    """As a client that is told its place twice and then where to go."""
    request = Request(role="client")
    return _admitted(lambda at, within_s: links[0].channel, _FRONT, request, CLIENT, None, math.inf)


def _fronts_answers(links: Links) -> None:
    waits = [{"wait": place, "ticket": bytes(TICKET_BYTES)} for place in (2, 1)]
    meter = links[0].meter
    with meter.phase(Phase.CONTROL), meter.span("session", "control"), meter.span("admission", "control"):
        for document in (*waits, {"port": 7103}):
            links[0].recv_document(ADMISSION_LABEL, MOST_ADMISSION_BYTES)
            links[0].send_document(document, ADMISSION_LABEL)


def _asks_for_admission(links: Links) -> object:
    return _ask(links[0], Request(role="client"))


def _answers_here(links: Links) -> None:
    answer_here(links[0], MOST_ADMISSION_BYTES)


def agreeing_scenes() -> list[Scene]:
    """One for each end of each exchange."""
    public, fetched = small(), partial(fetch_public, name="theirs")
    pairs = (("server", "client"), ("client", "server"), ("dealer", "party"), ("party", "dealer"))
    hands = [
        Scene(
            f"{me} reads a hello of a {other}",
            partial(_hands, me, other),
            partial(_hands, other, me),
            (None if "dealer" in (me, other) else SERVER if me == "server" else CLIENT,),
            fresh=True,
            weight=3.0,
        )
        for me, other in pairs
    ]

    def terms(rank: int, links: Links) -> object:
        return agreed_program(links[0], config(size=2))

    def batch(rank: int, links: Links) -> object:
        return agreed_batch(links[0], config(size=2))

    def give(links: Links) -> object:
        return give_public(links[0], public)

    def fetch(links: Links) -> object:
        return fetched(links[0])

    def serve(links: Links) -> object:
        return serve_steps(links[0], Steps())

    return [
        *hands,
        Scene("client asks a front", _asks_a_front, _fronts_answers, (CLIENT,), fresh=True, weight=2.0),
        Scene("server is asked for admission", _answers_here, _asks_for_admission, fresh=True),
        Scene("server is asked for the public part", give, fetch, fresh=True),
        Scene("client reads the public part", fetch, give, (CLIENT,), fresh=True, weight=2.0),
        Scene("server reads the terms", partial(terms, SERVER), partial(terms, CLIENT), weight=0.5),
        Scene("server reads the batch", partial(batch, SERVER), partial(batch, CLIENT)),
        Scene("server reads what to keep", partial(_wanted, SERVER), partial(_wanted, CLIENT)),
        Scene("server follows steps", serve, _steps_of_client, weight=4.0),
        Scene("client reads the bill", _steps_of_client, serve, (CLIENT,), weight=2.0),
    ]
