"""Links: what is refused, by name, and rounds by depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from parties.bill import BillRow
from parties.errors import MalformedFrame, PeerClosed, PeerMismatch, PeerTimeout
from parties.link import Link
from parties.local import local_pair
from parties.meter import Meter, Phase
from parties.threads import run_two_threads
from parties.trace import Trace
from parties.wire import Frame, RingArray, Spec, decode, encode
from tests.deadlines import SILENCE_S

X: RingArray = np.arange(6, dtype=np.uint64).reshape(2, 3)
Change = Callable[[Frame], Frame]


def _links(tamper: Callable[[list[bytes]], list[bytes]] | None = None) -> tuple[Link, Link]:
    first, second = local_pair(SILENCE_S)
    return Link(Trace(first, tamper_sent=tamper), Meter(), 0), Link(second, Meter(), 1)


def _changing(change: Change) -> Callable[[list[bytes]], list[bytes]]:
    return lambda parts: [bytes(part) for part in encode(change(decode(parts)))]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda frame: replace(frame, label="layer1"), "expected label 'other', got 'layer1'"),
        (lambda frame: replace(frame, session=b"another"), "another session"),
        (lambda frame: replace(frame, sequence=7), "expected frame 0, got frame 7"),
        (lambda frame: replace(frame, depth=2), "depth 2, expected 1 to 1"),
        (lambda frame: replace(frame, depth=0), "depth 0"),
        (
            lambda frame: replace(frame, specs=(Spec(64, (3, 2)),)),
            r"expected 64-bit \[2, 3\], got 64-bit \[3, 2\]",
        ),
        (lambda frame: replace(frame, specs=(Spec(48, (2, 4)),)), r"got 48-bit \[2, 4\]"),
        (lambda frame: replace(frame, specs=(), payload=()), "got nothing"),
        (lambda frame: replace(frame, specs=frame.specs * 2, payload=frame.payload * 2), "got 64-bit"),
        (
            lambda frame: replace(frame, specs=(Spec(64, (1 << 10,)),), payload=(bytes(1 << 13),)),
            r"got 64-bit \[1024\]",
        ),
    ],
)
def test_a_frame_that_is_not_the_one_expected(change: Change, complaint: str) -> None:
    sender, receiver = _links(_changing(change))
    sender.send([X], 64)
    with pytest.raises(PeerMismatch, match=complaint):
        receiver.recv([Spec(64, (2, 3))])


@pytest.mark.parametrize(
    "tamper",
    [
        lambda parts: [b"garbage"],
        lambda parts: [parts[0]],
        lambda parts: [parts[0], parts[1][:-1]],
        lambda parts: [parts[0], parts[1] + b"\0"],
        lambda parts: [*parts, b""],
        lambda parts: [parts[0][:-1], *parts[1:]],
        lambda parts: [bytes(1 << 17), *parts[1:]],
        lambda parts: parts[::-1],
    ],
    ids=[
        "garbage",
        "no array",
        "truncated",
        "too long",
        "surplus part",
        "short header",
        "long header",
        "swapped",
    ],
)
def test_bytes_that_are_no_frame(tamper: Callable[[list[bytes]], list[bytes]]) -> None:
    sender, receiver = _links(tamper)
    sender.send([X], 64)
    with pytest.raises(MalformedFrame):
        receiver.recv([Spec(64, (2, 3))])


def test_a_replayed_frame() -> None:
    sender, receiver = _links()
    sent = Trace(sender.channel, keep_cache=True)
    sender.channel = sent
    sender.send([X], 64)
    receiver.recv([Spec(64, (2, 3))])
    sent.send(sent.sent[0])
    with pytest.raises(PeerMismatch, match="expected frame 1, got frame 0"):
        receiver.recv([Spec(64, (2, 3))])


def test_a_sound_frame_arrives() -> None:
    sender, receiver = _links(_changing(lambda frame: frame))
    sender.send([X, X.astype(np.uint8)], [64, 3], "here")
    got = receiver.recv([Spec(64, (2, 3)), Spec(3, (2, 3))], "here")
    assert [array.tolist() for array in got] == [X.tolist(), X.tolist()]


def test_documents() -> None:
    sender, receiver = _links()
    document: dict[str, Any] = {"text": "π", "list": [1, None, 2.5], "bytes": b"\0", "map": {"a": True}}
    sender.send_document(document)
    assert receiver.recv_document() == document


def test_documents_that_are_none() -> None:
    sender, receiver = _links()
    sender.send([X], 64)
    with pytest.raises(PeerMismatch, match="expected a document"):
        receiver.recv_document()
    for raw, complaint in ((b"\x01", "must be a map"), (b"\xc1", "not msgpack")):
        sender.send([np.frombuffer(raw, np.uint8)], 8)
        with pytest.raises(MalformedFrame, match=complaint):
            receiver.recv_document()
    sender.send_document({"long": bytes(100)})
    with pytest.raises(MalformedFrame, match="at most 50"):
        receiver.recv_document(max_bytes=50)


def test_a_dead_and_a_silent_peer() -> None:
    sender, receiver = _links()
    with pytest.raises(PeerTimeout):
        receiver.recv([Spec(64, (2, 3))])
    sender.close()
    with pytest.raises(PeerClosed):
        receiver.recv([Spec(64, (2, 3))])


Party = Callable[[Link], None]


def _exchange(link: Link) -> None:
    link.exchange([X], 64)


def _send(link: Link) -> None:
    link.send([X], 64)


def _recv(link: Link) -> None:
    link.recv([Spec(64, X.shape)])


def _steps(*steps: Party) -> Party:
    def party(link: Link) -> None:
        for step in steps:
            step(link)

    return party


@pytest.mark.parametrize(
    ("server", "client", "rounds"),
    [
        (_steps(_exchange), _steps(_exchange), 1),
        (_steps(_exchange, _exchange), _steps(_exchange, _exchange), 2),
        (_steps(_send, _recv, _send), _steps(_recv, _send, _recv), 3),
        (_steps(*[_send] * 4, *[_recv] * 4), _steps(*[_send] * 4, *[_recv] * 4), 1),
        (_steps(*[_send] * 4), _steps(*[_recv] * 4), 1),
        (_steps(_send, _send, _recv, _recv), _steps(_recv, _recv, _send, _send), 2),
        (_steps(_send, _recv), _steps(_send, _recv), 1),
    ],
    ids=[
        "exchange",
        "two",
        "ping-pong of three",
        "four each before any receive",
        "four one way",
        "2+2",
        "send-recv",
    ],
)
def test_rounds_by_depth(server: Party, client: Party, rounds: int) -> None:
    rows = _rows_of_both(server, client)
    assert [row.rounds for row in rows[0]] == [rounds]
    assert rows[0] == rows[1]


def _rows_of_both(server: Party, client: Party) -> list[list[BillRow]]:
    def rows(party: Party) -> Callable[[Link], list[BillRow]]:
        def run(link: Link) -> list[BillRow]:
            with link.meter.span("step", "kind"):
                party(link)
            return [replace(row, seconds=None) for row in link.meter.bill().rows]

        return run

    return list(run_two_threads(rows(server), rows(client)))


def test_rounds_go_to_the_label_that_waits() -> None:
    def party(link: Link) -> None:
        with link.meter.span("first"):
            link.exchange([X], 64)
        with link.meter.span("free"):
            link.send([X], 64) if link.rank == 0 else None
        with link.meter.span("second"):
            link.exchange([X], 64)
        with link.meter.span("free"):
            link.recv([Spec(64, X.shape)], "step.free") if link.rank == 1 else None

    def out_of_order(link: Link) -> None:
        """The free frame is read where it comes in the stream: before the second exchange."""
        with link.meter.span("first"):
            link.exchange([X], 64)
        with link.meter.span("free"):
            link.send([X], 64) if link.rank == 0 else link.recv([Spec(64, X.shape)])
        with link.meter.span("second"):
            link.exchange([X], 64)

    with pytest.raises(PeerMismatch, match=r"expected label 'step.second', got 'step.free'"):
        _rows_of_both(party, party)
    first, second = (
        {row.label: row.rounds for row in rows} for rows in _rows_of_both(out_of_order, out_of_order)
    )
    assert first == second
    assert sum(first.values()) == 3  # the client's second frame answers the free one


def test_bytes_by_direction_and_phase() -> None:
    def party(link: Link) -> None:
        with link.meter.phase(Phase.CONTROL):
            link.send_document({}) if link.rank == 0 else link.recv_document()
        with link.meter.phase(Phase.SETUP):
            link.exchange([X], 64)
        if link.rank == 0:
            link.send([X.astype(np.uint8)], 3)
        else:
            link.recv([Spec(3, X.shape)])

    server, client = _rows_of_both(party, party)
    assert server == client
    (row,) = server
    assert (row.control_bytes, row.setup_bytes, row.setup_rounds) == (1, 2 * X.nbytes, 1)
    assert (row.online_bytes_to_client, row.online_bytes_to_server, row.rounds) == (3, 0, 1)
    assert row.wire_bytes_to_client > 1 + X.nbytes + 3


def test_what_is_sent_ahead_takes_no_round_from_what_is_sent_online() -> None:
    def party(link: Link) -> None:
        for _ in range(2):
            with link.meter.phase(Phase.OFFLINE):
                link.send([X], 64) if link.rank == 1 else link.recv([Spec(64, X.shape)])
            link.send([X], 64) if link.rank == 1 else link.recv([Spec(64, X.shape)])
            link.exchange([X], 64)

    server, client = _rows_of_both(party, party)
    assert [replace(row, offline_seconds=None) for row in server] == [
        replace(row, offline_seconds=None) for row in client
    ]
    (row,) = server
    # A frame to the server, and the exchange in which the server sends after it: two rounds, twice.
    assert (row.rounds, row.offline_bytes_to_server, row.online_bytes_to_client) == (
        4,
        2 * X.nbytes,
        2 * X.nbytes,
    )


def test_rounds_ahead_are_counted_apart_from_those_online() -> None:
    def party(link: Link) -> None:
        with link.meter.phase(Phase.OFFLINE):
            link.exchange([X], 64)
        link.exchange([X], 64)
        with link.meter.phase(Phase.OFFLINE):
            for sender in (0, 1):  # in turn: the second waits for the first
                link.send([X], 64) if link.rank == sender else link.recv([Spec(64, X.shape)])
        link.exchange([X], 64)

    for (row,) in _rows_of_both(party, party):
        assert (row.rounds, row.offline_rounds) == (2, 3)


def test_a_peer_cannot_claim_depth_it_was_not_given() -> None:
    """Rounds cannot be inflated: a frame is at most one deeper than what its sender was sent."""
    deep: Sequence[int] = (2, 100, 1 << 40)
    for depth in deep:
        sender, receiver = _links(_changing(lambda frame, depth=depth: replace(frame, depth=depth)))
        sender.send([X], 64)
        with pytest.raises(PeerMismatch, match=f"depth {depth}"):
            receiver.recv([Spec(64, X.shape)])
