"""The handshake agrees on a session and common keys, or says what differs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from parties.documents import from_bytes, to_bytes
from parties.errors import HandshakeFailed, MpcInferError, PeerMismatch
from parties.handshake import HANDSHAKE_LABEL, PROTOCOL_VERSION, Hello, Session, shake_hands
from parties.link import Link
from parties.local import local_pair
from parties.meter import Meter
from parties.randomness import InsecureTestRandom, SystemRandom
from parties.threads import run_two_threads
from parties.wire import Frame, Spec, decode, encode
from tests.deadlines import SILENCE_S

SERVER = Hello(role="server", plan="plan", model="model")
CLIENT = replace(SERVER, role="client")
DEALER = Hello(role="dealer", plan=None, model=None)


def _shake(first: Hello, second: Hello) -> tuple[Session, Session]:
    def run(mine: Hello, peer: Hello) -> Callable[[Link], Session]:
        def party(link: Link) -> Session:
            session = shake_hands(link, mine, peer.role, SystemRandom())
            assert link.session == session.id
            return session

        return party

    return run_two_threads(run(first, second), run(second, first))


@pytest.mark.parametrize(
    "ends",
    list(itertools.combinations([SERVER, CLIENT, DEALER], 2)),
    ids=lambda e: f"{e[0].role}-{e[1].role}",
)
def test_every_kind_of_link(ends: tuple[Hello, Hello]) -> None:
    first, second = _shake(*ends)
    assert first.id == second.id
    assert (first.mine, first.peer) == (second.peer, second.mine) == ends
    assert first.key("zero shares") == second.key("zero shares")
    assert len({first.key("zero shares"), first.key("masks"), first.id}) == 3
    assert [len(first.key("masks")), len(first.id)] == [16, 16]


def test_sessions_are_fresh() -> None:
    sessions = [_shake(SERVER, CLIENT)[0] for _repeat in range(3)]
    assert len({session.id for session in sessions}) == 3
    assert len({session.key("masks") for session in sessions}) == 3


def test_the_id_depends_on_what_was_agreed() -> None:
    def session_id(plan: str) -> bytes:
        def run(mine: Hello, peer_role: str, seed: int) -> Callable[[Link], bytes]:
            hello = replace(mine, plan=plan)
            return lambda link: shake_hands(link, hello, peer_role, InsecureTestRandom(seed)).id

        return run_two_threads(run(SERVER, "client", 1), run(CLIENT, "server", 2))[0]

    assert session_id("a") == session_id("a")
    assert session_id("a") != session_id("b")


def test_frames_of_the_session_are_accepted_and_others_not() -> None:
    ends = local_pair()
    links = [Link(end, Meter(), rank) for rank, end in enumerate(ends)]
    links[0].session = b"agreed"
    links[0].send_document({"x": 1})
    with pytest.raises(PeerMismatch, match="another session"):
        links[1].recv_document()


@pytest.mark.parametrize(
    ("server", "client", "complaint"),
    [
        (SERVER, replace(CLIENT, plan="other"), "plan: expected (plan, got other|other, got plan)"),
        (SERVER, replace(CLIENT, model="other"), "model: expected (model, got other|other, got model)"),
        (SERVER, replace(CLIENT, version=1), f"protocol version: expected {PROTOCOL_VERSION}, got 1"),
    ],
)
def test_differences(server: Hello, client: Hello, complaint: str) -> None:
    with pytest.raises(HandshakeFailed, match=complaint) as raised:
        _shake(server, client)
    assert "raised by the" in raised.value.__notes__[0]


def test_all_differences_are_named_at_both_ends() -> None:
    other = replace(CLIENT, plan="p2", model="m2")
    with pytest.raises(HandshakeFailed, match=r"plan: .*; model: ") as raised:
        _shake(SERVER, other)
    assert any("HandshakeFailed" in note for note in raised.value.__notes__)


def test_the_wrong_role() -> None:
    with pytest.raises(HandshakeFailed, match="role: expected dealer, got client"):
        _one_end(SERVER, "dealer", _hello_of(CLIENT))


def test_ones_own_hello_sent_back() -> None:
    with pytest.raises(HandshakeFailed, match="role: expected client, got server"):
        _one_end(SERVER, "client", _hello_of(SERVER))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": None},
        {"version": "1"},
        {"role": "admin"},
        {"role": 1},
        {"plan": None},
        {"model": None},
        {"plan": 5},
        {"parent": "text"},
        {"nonce": b"short"},
        {"secret": b"short"},
        {"secret": "x" * 32},
        {"surplus": 1},
    ],
    ids=str,
)
def test_hellos_that_are_none(changes: dict[str, Any]) -> None:
    with pytest.raises(HandshakeFailed):
        _one_end(SERVER, "client", {**_hello_of(CLIENT), **changes})


@pytest.mark.parametrize("missing", ["version", "role", "plan", "model", "parent", "nonce", "secret"])
def test_a_hello_with_a_field_missing(missing: str) -> None:
    hello = _hello_of(CLIENT)
    del hello[missing]
    with pytest.raises(HandshakeFailed):
        _one_end(SERVER, "client", hello)


def test_only_a_dealer_may_leave_plan_and_model_open() -> None:
    with pytest.raises(HandshakeFailed, match="must name its plan"):
        Hello(role="client", plan=None, model="model")
    with pytest.raises(HandshakeFailed, match="a role is one of"):
        Hello(role="observer", plan=None, model=None)


def test_a_peer_that_speaks_something_else() -> None:
    end, other = local_pair()
    other.send([b"GET / HTTP/1.1"])
    with pytest.raises(MpcInferError):
        shake_hands(Link(end, Meter(), 0), SERVER, "client", SystemRandom())


def test_the_bill_of_a_handshake() -> None:
    def party(mine: Hello, peer_role: str) -> Callable[[Link], dict[str, int]]:
        def run(link: Link) -> dict[str, int]:
            shake_hands(link, mine, peer_role, SystemRandom())
            total = link.meter.bill().total
            return {"control": total.control_bytes, "rounds": total.rounds + total.setup_rounds}

        return run

    server, client = run_two_threads(party(SERVER, "client"), party(CLIENT, "server"))
    assert server == client
    assert server["rounds"] == 0
    assert server["control"] > 2 * (16 + 32)


def test_secrets_are_not_in_repr() -> None:
    session, _peer = _shake(SERVER, CLIENT)
    assert "secret" not in repr(session)
    assert session.key("x").hex() not in repr(session)


def _hello_of(hello: Hello) -> dict[str, Any]:
    """What a well-behaved end would send."""
    end, other = local_pair(SILENCE_S)
    with pytest.raises(MpcInferError):
        shake_hands(Link(end, Meter(), 1), hello, "server", SystemRandom())
    document = from_bytes(decode(other.recv()).payload[0], 10_000)
    assert isinstance(document, dict)
    return document


def _one_end(mine: Hello, peer_role: str, peer_document: dict[str, Any]) -> Session:
    """One end against a peer that sends exactly this."""
    end, other = local_pair()
    raw = to_bytes(peer_document)
    other.send(encode(Frame(b"", 0, HANDSHAKE_LABEL, 0, (Spec(8, (len(raw),)),), (raw,))))
    return shake_hands(Link(end, Meter(), 0), mine, peer_role, SystemRandom())
