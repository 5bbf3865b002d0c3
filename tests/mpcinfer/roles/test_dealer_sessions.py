"""A dealer brings a server and a client together, whichever of them left an earlier time."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from mpcinfer.roles.dealer import _deal_once
from mpcinfer.roles.watch import Watch
from mpcinfer.sessions.addresses import Identity
from parties.errors import PeerClosed, PeerMismatch
from parties.handshake import Hello, shake_hands
from parties.keys import KeyPair
from parties.link import Link
from parties.meter import Meter
from parties.randomness import SystemRandom
from parties.tcp import TcpChannel, connect
from tests.deadlines import HANG_S
from tests.parties.pairs import free_endpoint

KEYS = {name: KeyPair.generate() for name in ("server", "client", "dealer")}


class _Dealer:
    """One session of a dealer, in a thread."""

    def __init__(self, stack: ExitStack) -> None:
        self.endpoints = {"server": free_endpoint(), "client": free_endpoint()}
        server, client = (Identity(KEYS["dealer"], KEYS[name].public) for name in ("server", "client"))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        self.session: Future[str | None] = pool.submit(
            _deal_once, *self.endpoints.values(), server, client, HANG_S, None, Watch()
        )

    def meet(self, name: str) -> TcpChannel:
        return connect(
            self.endpoints[name],
            KEYS[name],
            KEYS["dealer"].public,
            connect_timeout_s=HANG_S,
            recv_timeout_s=HANG_S,
        )


@pytest.fixture
def dealer() -> Generator[_Dealer]:
    with ExitStack() as stack:
        yield _Dealer(stack)


def _ask(role: str, channel: TcpChannel) -> None:
    """Names a suite that there is none of, as the other party does."""
    link = Link(channel, Meter(), None)
    shake_hands(link, Hello(role=role, plan="p", model="m", parent=b"same"), "dealer", SystemRandom())
    link.send_document({"suite": "none"}, "deal.session")


def test_a_client_that_left_before_the_server_came(dealer: _Dealer) -> None:
    dealer.meet("client").close()
    with dealer.meet("server") as server, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(_ask, "server", server)
        with dealer.meet("client") as client:
            _ask("client", client)
            with pytest.raises(PeerMismatch, match="no suite 'none'"):
                dealer.session.result()
        asking.result()


def test_a_server_that_leaves_while_its_client_is_awaited(dealer: _Dealer) -> None:
    dealer.meet("server").close()
    with pytest.raises(PeerClosed, match="awaited for has left"):
        dealer.session.result()
