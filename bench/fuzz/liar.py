"""A client with sound keys that does everything right but one message, to a server or to its dealer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from random import Random

import torch

from bench.fuzz.mutations import Message, mutated
from bench.fuzz.running import TIMEOUT_S, Running
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.sessions.session_config import SessionConfig, announce, greet
from mpcinfer.sessions.tally import Tally
from mpcinfer.suites.fss.connect import agreed_program, fss_over
from mpcinfer.suites.registry import suite_of
from parties.admission import Request, seek
from parties.errors import PeerClosed
from parties.handshake import Hello, Session, shake_hands
from parties.link import Link
from parties.meter import CLIENT, Meter
from parties.randomness import SystemRandom
from parties.tcp import TcpChannel, connect
from parties.trace import Trace
from protocols.fss.plans import NAME
from protocols.fss.preprocessing.source import DealerSource

PROMPT = "def f(x"
Tamper = Callable[[Message], Message]
_IMPATIENT_S = {True: 3.0, False: 15.0}
"""How long somebody waits who knows that it was lying: where there is a dealer, and where both parties make
correlations, so that an honest server may say nothing for seconds."""
_MOMENTS = 40
"""Messages of a client to the server, from the hello into the first pass; one of them is the bad one."""
_TO_DEALER = 4
_FIRST = 0.4
_DEALERS = 0.2
_GIVING_UP = 0.95
_LOOK_S = 0.1


class Liar:
    """What goes wrong in one session, drawn from a seed and a number.

    Attributes:
        at_dealer: the bad message goes to the dealer.
        moment: its number, counted from 0, among the messages to that party.
        gives_up: it does not go to the dealer where the server has left; one that does comes back next time.
        way: how it was changed, once it was sent.
    """

    def __init__(self, seed: int, number: int, sound: Sequence[Message], *, with_dealer: bool) -> None:
        self._draw, self._sound = Random(f"{seed} {number}"), sound
        self.at_dealer = with_dealer and self._draw.random() < _DEALERS
        first = self._draw.random() < _FIRST
        self.moment = 0 if first else self._draw.randrange(_TO_DEALER if self.at_dealer else _MOMENTS)
        self.gives_up = self._draw.random() < _GIVING_UP
        self.way, self._counts = "", [0, 0]

    def to_server(self, message: Message) -> Message:
        """What goes on to the server in place of a message."""
        return self._next(message, 0)

    def to_dealer(self, message: Message) -> Message:
        """What goes on to the dealer."""
        return self._next(message, 1)

    def _next(self, message: Message, to: int) -> Message:
        number, self._counts[to] = self._counts[to], self._counts[to] + 1
        if number != self.moment or to != int(self.at_dealer):
            return message
        self.way, bad = mutated(message, self._draw, self._sound)
        return bad or [b""]


def session(here: Running, liar: Liar | None = None, prompt: str = PROMPT) -> torch.Tensor:
    """One pass of a client; the logits [1, V].

    Args:
        liar: changes a message; None for an honest session.

    Raises:
        MpcInferError: what a server or a dealer that was lied to answers with: it goes away.
    """
    patience_s = TIMEOUT_S if liar is None else _IMPATIENT_S[bool(here.for_client)]
    ids, config = here.public.tokenizer.encode(prompt), _config(here)
    with ExitStack() as stack:
        channel = stack.enter_context(_to(here, here.server, "server", patience_s))
        traced = Trace(channel, tamper_sent=None if liar is None else liar.to_server)
        link = Link(traced, Meter(), CLIENT)
        if here.for_client:
            steps = _with_dealer(stack, here, link, config, liar, channel)
        else:
            steps = StepClient(link, stack.enter_context(suite_of(here.plan).open(link, config)))
        logits = steps.step(ids)
        steps.finish()
        steps.part()
        return logits


def _config(here: Running) -> SessionConfig:
    given = SessionConfig(plan=here.plan, public=here.public, max_context=16, timeout_s=TIMEOUT_S)
    return suite_of(here.plan).ready(given)


def _to(here: Running, endpoint: str, who: str, patience_s: float, parent: bytes = b"") -> TcpChannel:
    """A connection to whoever serves the session."""

    def dial(at: str, most_s: float | None) -> TcpChannel:
        return connect(
            at,
            here.keys["client"],
            here.keys[who].public,
            connect_timeout_s=most_s or 3 * TIMEOUT_S,
            recv_timeout_s=patience_s,
        )

    channel = seek(dial, endpoint, Request(role="client", parent=parent), patience_s=3 * TIMEOUT_S).channel
    assert isinstance(channel, TcpChannel)
    return channel


def _with_dealer(
    stack: ExitStack,
    here: Running,
    link: Link,
    config: SessionConfig,
    liar: Liar | None,
    at_server: TcpChannel,
) -> StepClient:
    """As a session with a dealer opens, over a traced connection to it as well."""
    agreed = greet(link, config.plan.digest(), config.agreed_model)
    if liar is not None and liar.gives_up:
        time.sleep(_LOOK_S)
        if at_server.lost:
            raise PeerClosed("the server has left; nobody awaits this client at the dealer")
    channel = stack.enter_context(
        _to(
            here,
            here.for_client,
            "dealer",
            TIMEOUT_S if liar is None else _IMPATIENT_S[bool(here.for_client)],
            agreed.id,
        )
    )
    dealer = Link(Trace(channel, tamper_sent=None if liar is None else liar.to_dealer), Meter(), None)
    shake_hands(dealer, _hello(agreed), "dealer", SystemRandom())
    program, _ = agreed_program(link, config)
    announce(dealer, NAME, **program.to_document())
    source = stack.enter_context(closing(DealerSource(CLIENT, dealer)))
    return StepClient(link, stack.enter_context(closing(fss_over(link, program, None, source, Tally(None)))))


def _hello(agreed: Session) -> Hello:
    mine = agreed.mine
    return Hello(role=mine.role, plan=mine.plan, model=mine.model, parent=agreed.id)
