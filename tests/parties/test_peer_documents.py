"""What a document of a peer may hold, and what an error may say of it."""

from __future__ import annotations

import msgpack
import pytest

from parties.documents import MOST_LEVELS, from_bytes, to_bytes
from parties.errors import (
    MOST_LETTERS,
    AdmissionRefused,
    HandshakeFailed,
    MalformedFrame,
    PeerMismatch,
    one_line,
)


def _nested(levels: int, inner: object = 1) -> object:
    for level in range(levels):
        inner = [inner] if level % 2 else {"in": inner}
    return inner


def test_documents_are_as_deep_as_they_may_be() -> None:
    deepest = _nested(MOST_LEVELS - 1)
    assert from_bytes(to_bytes(deepest), 1 << 10) == deepest


@pytest.mark.parametrize("levels", [MOST_LEVELS, 500, 1000, 1 << 16])
def test_deeper_ones_are_refused(levels: int) -> None:
    with pytest.raises(MalformedFrame, match=r"levels|not msgpack"):
        from_bytes(b"\x91" * levels + b"\x01", 1 << 17)


@pytest.mark.parametrize(
    "raw",
    [
        msgpack.packb({"when": msgpack.Timestamp(1, 2)}),
        msgpack.packb([msgpack.ExtType(5, b"more")]),
        msgpack.packb({b"bytes": 1}),
        msgpack.packb({"in": [{b"bytes": 1}]}),
        msgpack.packb({1: 1}),
        b"\x81\xa1\xff\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
    ],
    ids=[
        "timestamp",
        "extension",
        "bytes as key",
        "deeper",
        "number as key",
        "no UTF-8",
        "long list",
        "long",
    ],
)
def test_documents_hold_plain_values(raw: bytes) -> None:
    with pytest.raises(MalformedFrame):
        from_bytes(raw, 1 << 10)


@pytest.mark.parametrize("kind", [HandshakeFailed, MalformedFrame, PeerMismatch])
def test_an_error_that_quotes_a_peer_is_one_short_line(kind: type[Exception]) -> None:
    message = str(kind("got \x1b[2J\nserver: session over\ud800" + 1000 * "\n"))
    assert message.isprintable()
    assert message.startswith(r"got \x1b[2J\nserver: session over\ud800")
    assert len(message) <= MOST_LETTERS


def test_so_is_a_refusal() -> None:
    assert str(AdmissionRefused("full", "line\nline")).startswith(r"line\nline (full)")


def test_a_usual_message_stays_as_it_is() -> None:
    usual = "layer3.attn: expected 64-bit [2, 3], got 48-bit [2, 4], μ"
    assert one_line(usual) == usual
