"""A server goes on serving, whoever comes."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections.abc import Iterator

import pytest

from mpcinfer.models.load import load_model, load_public
from mpcinfer.models.public import PublicModel
from mpcinfer.roles import server
from mpcinfer.roles.connect import connect_client
from mpcinfer.roles.server import what_clients_get
from mpcinfer.sessions.addresses import Address, Identity
from mpcinfer.sessions.exchange import serve_steps
from mpcinfer.sessions.session import PrivateSession
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from parties.channel import Channel
from parties.errors import HandshakeFailed, InsecureRefused, MpcInferError, PeerTimeout
from parties.link import Link
from parties.local import local_pair
from parties.meter import SERVER, Meter
from tests.deadlines import SILENCE_S
from tests.mpcinfer.test_encoders import EMBEDDING, MODELS
from tests.mpcinfer.three_parties import random_model
from tests.parties.pairs import CONNECTOR, LISTENER, tcp_pair


class Enough(Exception):
    """Ends a server that would go on for ever."""


class Visitors:
    """A listener whose visitors leave in the middle of the handshake, stay away, and end the test."""

    left: Iterator[Exception]

    def __init__(self, endpoint: str, keys: object, peers: object) -> None:
        pass

    def accept(self, timeout_s: float, recv_timeout_s: float) -> None:
        raise next(self.left)


def _serve(once: bool, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    Visitors.left = iter([HandshakeFailed("left"), PeerTimeout("nobody"), HandshakeFailed("left"), Enough()])
    monkeypatch.setattr(server, "Listener", Visitors)
    said: list[str] = []
    with pytest.raises((Enough, MpcInferError)) as ended:
        server.serve_sessions(
            load_public("tiny-python"),
            load_model("tiny-python").weights,
            get_plan("crypten"),
            listen="tcp://127.0.0.1:*",
            identity=Identity(LISTENER, CONNECTOR.public),
            dealer=Address("tcp://127.0.0.1:1", LISTENER.public),
            timeout_s=1.0,
            once=once,
            say=said.append,
        )
    return [*said, type(ended.value).__name__]


def test_a_peer_that_leaves_in_the_handshake_does_not_end_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _serve(False, monkeypatch)[-3:] == ["server: nobody came in: left"] * 2 + ["Enough"]


class _Held:
    """A session's arrays, which hold each other."""

    def __init__(self) -> None:
        self.myself = self


@pytest.mark.parametrize("fails", [True, False])
def test_what_a_session_held_is_gone_before_the_next_client(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    held, left = list[weakref.ref[_Held]](), list[bool]()

    def session(channel: object, config: object) -> Bill:
        mine = _Held()
        held.append(weakref.ref(mine))
        if fails:
            raise PeerTimeout("silent")
        return Bill(rows=[])

    def accept(self: Visitors, timeout_s: float, recv_timeout_s: float) -> Channel:
        left.extend(each() is not None for each in held)
        if len(held) == 2:
            raise Enough
        return local_pair()[0]

    monkeypatch.setattr(Visitors, "accept", accept)
    monkeypatch.setattr(server, "serve_channel", session)
    gc.disable()
    try:
        assert _serve(False, monkeypatch)[-1] == "Enough"
    finally:
        gc.enable()
    assert left == [False] * 3


def test_one_that_was_started_for_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _serve(True, monkeypatch)[-1] == "HandshakeFailed"


def test_a_server_that_deals_for_itself_is_asked_for_by_name() -> None:
    with pytest.raises(InsecureRefused, match="insecure_dealer=True"):
        server.serve_sessions(
            load_public("tiny-python"),
            {},
            get_plan("crypten"),
            listen="tcp://127.0.0.1:*",
            identity=Identity(LISTENER, CONNECTOR.public),
            dealer=None,
            timeout_s=1.0,
            once=True,
            say=print,
        )
    address = Address("tcp://127.0.0.1:1", LISTENER.public)
    client = connect_client(
        load_public("tiny-python"), get_plan("crypten"), keys=CONNECTOR, server=address, dealer=None
    )
    with pytest.raises(InsecureRefused, match="insecure_dealer=True"), client:
        pass


def test_an_idle_client_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrivateSession, "__abstractmethods__", frozenset[str]())
    listening, connecting = tcp_pair(SILENCE_S)
    with (
        connecting,
        Link(listening, Meter(), SERVER) as link,
        pytest.raises(PeerTimeout, match=r"idle for 0\.4 s.*the session ends"),
    ):
        serve_steps(link, PrivateSession(), 0.4)  # pyright: ignore[reportAbstractUsage]


def test_a_server_says_which_names_of_classes_clients_get() -> None:
    config = dataclasses.replace(MODELS["gpt2"], classes=10)
    model = dataclasses.replace(random_model(config), labels=tuple(f"kind {each}" for each in range(10)))
    said = what_clients_get(PublicModel.of(model))
    assert said.startswith("its shape, tokenizer, ranges and names of classes: kind 0, kind 1, ")
    assert said.endswith("kind 7, 2 more")
    assert what_clients_get(PublicModel.of(random_model(EMBEDDING))) == "its shape, tokenizer and ranges"
