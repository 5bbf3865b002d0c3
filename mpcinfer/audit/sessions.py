"""A whole session of a plan in this process, with taps on everything that each party receives."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.dealer import deal_session
from mpcinfer.sessions.addresses import Address
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.suite import DEALER
from parties.admission import answer_here
from parties.errors import PeerClosed
from parties.handshake import MOST_HELLO_BYTES, ROLES, Hello, shake_hands
from parties.keys import KeyPair
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter
from parties.randomness import SystemRandom
from parties.tcp import Listener
from parties.threads import run_two_threads
from parties.trace import Message, Trace
from parties.wire import Frame, decode
from protocols.plan import Plan

_WAIT_S = 120.0
_RANKS = (SERVER, CLIENT)


@dataclass(frozen=True, slots=True, eq=False)
class TappedSession:
    """What the parties of a session got.

    Attributes:
        received: what the server and what the client received of the other, from the handshake to the bill.
        dealt: what the dealer sent to each; empty where there is none.
        logits: what the client opened, [V].
    """

    received: tuple[list[Frame], list[Frame]]
    dealt: tuple[list[Frame], list[Frame]]
    logits: torch.Tensor


def tapped_session(model: Model, plan: Plan, prompt: Sequence[int]) -> TappedSession:
    """Runs one prompt in a session of all parties of the plan.

    Server and client are threads of this process; the dealer of a plan that has one is a third, reached over
    encrypted loopback connections as ever. Randomness is the system's.

    Args:
        prompt: token ids.

    Raises:
        ConfigError, RangeError: the plan cannot run the model.
        PeerError: the dealer fell silent.
    """
    suite = suite_of(plan)
    suite.require()
    suite.load()
    public, keys = PublicModel.of(model), {rank: KeyPair.generate() for rank in _RANKS}
    taps = [Trace(end, keep_cache=True) for end in local_pair()]

    def config(rank: int) -> SessionConfig:
        return suite.ready(
            SessionConfig(
                plan=plan,
                public=public,
                weights=model.weights if rank == SERVER else None,
                keys=keys[rank],
                dealer=dealer.addresses[rank] if dealer is not None else None,
                timeout_s=_WAIT_S,
            )
        )

    def server(link: Link) -> None:
        with suite.open(link, config(SERVER)) as session:
            serve_steps(link, session)

    def client(link: Link) -> torch.Tensor:
        with suite.open(link, config(CLIENT)) as session:
            steps = StepClient(link, session)
            logits = steps.step(prompt)[-1]
            steps.finish()
            steps.part()
            return logits

    with contextlib.ExitStack() as stack:
        dealer = _Dealer(keys) if DEALER in suite.helpers else None
        if dealer is not None:
            stack.callback(dealer.join)
            dealer.start()
        _, logits = run_two_threads(server, client, channels=(taps[SERVER], taps[CLIENT]))
    received = (_frames(taps[CLIENT].sent), _frames(taps[CLIENT].received))
    return TappedSession(received, dealer.sent if dealer is not None else ([], []), logits)


class _Dealer:
    """A dealer for one session, in a thread, with taps on what it sends.

    Attributes:
        addresses: where each party finds it.
        sent: to the server and to the client, once it has ended.
    """

    def __init__(self, keys: dict[int, KeyPair]) -> None:
        own = {rank: KeyPair.generate() for rank in keys}
        self._listeners = {
            rank: Listener("tcp://127.0.0.1:*", own[rank], [pair.public]) for rank, pair in keys.items()
        }
        self.addresses = {
            rank: Address(each.endpoint, own[rank].public) for rank, each in self._listeners.items()
        }
        self.sent: tuple[list[Frame], list[Frame]] = ([], [])
        self._errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self.start: Callable[[], None] = self._thread.start

    def join(self) -> None:
        """Waits for its end; raises what ended it."""
        self._thread.join(_WAIT_S)
        for listener in self._listeners.values():
            listener.close()
        if not self._errors.empty():
            raise self._errors.get()

    def _guarded(self) -> None:
        try:
            self._serve()
        except PeerClosed:
            pass  # of a party that failed, which says why
        except BaseException as error:
            self._errors.put(error)

    def _serve(self) -> None:
        hello = Hello(role="dealer", plan=None, model=None)
        channels = [self._listeners[rank].accept(_WAIT_S, _WAIT_S) for rank in _RANKS]
        taps = [Trace(channel, keep_cache=True) for channel in channels]
        links = [Link(tap, Meter(), None) for tap in taps]
        try:
            for link in links:
                answer_here(link, MOST_HELLO_BYTES)
            for rank, link in zip(_RANKS, links, strict=True):
                shake_hands(link, hello, ROLES[rank], SystemRandom())
            deal_session(*links)
        finally:
            for link in links:
                link.close()
            self.sent = (_frames(taps[SERVER].sent), _frames(taps[CLIENT].sent))


def _frames(messages: Sequence[Message]) -> list[Frame]:
    return [decode(message) for message in messages]
