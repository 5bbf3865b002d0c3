"""Traces: equal hashes for equal traffic, copies, and tampering."""

from __future__ import annotations

from parties.channel import Channel
from parties.local import local_pair
from parties.trace import Trace
from tests.parties.pairs import tcp_pair


def _pair(**options: bool) -> tuple[Trace, Trace]:
    first, second = local_pair()
    return Trace(first, **options), Trace(second, **options)


def test_the_two_ends_have_the_same_hashes() -> None:
    first, second = _pair()
    for message in ([b"one"], [b"", b"two"], [bytes(100_000)]):
        first.send(message)
        second.recv()
    second.send([b"back"])
    first.recv()
    assert first.sent_sha256 == second.received_sha256
    assert second.sent_sha256 == first.received_sha256
    assert first.sent_sha256 != second.sent_sha256


def test_hashes_see_order_and_boundaries() -> None:
    def digest(messages: list[list[bytes]]) -> str:
        first, _second = _pair()
        for message in messages:
            first.send(message)
        return first.sent_sha256

    traffic = [
        [[b"ab"], [b"c"]],
        [[b"a", b"b"], [b"c"]],
        [[b"a"], [b"b"], [b"c"]],
        [[b"abc"]],
        [[b"ab", b""], [b"c"]],
        [[b"c"], [b"ab"]],
        [],
    ]
    assert len({digest(messages) for messages in traffic}) == len(traffic)
    assert [digest(messages) for messages in traffic] == [digest(messages) for messages in traffic]


def test_copies_are_kept_where_asked() -> None:
    first, second = _pair(keep_cache=True)
    buffer = bytearray(b"before")
    first.send([buffer, b"x"])
    buffer[:] = b"after!"
    second.recv()
    assert first.sent == second.received == [[b"before", b"x"]]
    assert _pair()[0].sent == []


def test_tampering() -> None:
    ends = local_pair()
    liar = Trace(ends[0], keep_cache=True, tamper_sent=lambda parts: [*parts, b"more"])
    fooled = Trace(ends[1], keep_cache=True, tamper_received=lambda parts: parts[1:])
    liar.send([b"a", b"b"])
    assert fooled.recv() == [b"b", b"more"]
    assert (liar.sent, fooled.received) == ([[b"a", b"b"]], [[b"b", b"more"]])
    assert liar.sent_sha256 == fooled.received_sha256


def test_wire_bytes_are_those_of_the_inner_channel() -> None:
    inner: tuple[Channel, Channel] = tcp_pair()
    with Trace(inner[0]) as first, Trace(inner[1]):
        assert first.wire_bytes([bytes(100), b""]) == inner[0].wire_bytes([bytes(100), b""]) > 100
