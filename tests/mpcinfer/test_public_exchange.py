"""A client that has nothing of a model gets its public part from the server: all of it, checked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpcinfer
from mpcinfer.models.public import PublicModel
from mpcinfer.models.public_document import MOST_HEAD_BYTES, MOST_TOKENIZER_BYTES, Head
from mpcinfer.sessions.public_exchange import PUBLIC_LABEL, fetch_public, give_public
from parties.errors import ConfigError, HandshakeFailed, MalformedFrame, PeerMismatch
from parties.handshake import HANDSHAKE_LABEL, PROTOCOL_VERSION, Hello, shake_hands
from parties.link import Link
from parties.meter import Phase
from parties.randomness import SystemRandom
from parties.threads import run_two_threads
from tests.deadlines import HANG_S


@pytest.fixture(scope="module")
def public() -> PublicModel:
    return mpcinfer.load_public("tiny-python")


def _exchange(server: Callable[[Link], Any], client: Callable[[Link], Any]) -> tuple[Any, Any]:
    return run_two_threads(server, client, timeout_s=HANG_S)


def test_the_client_has_the_same_model_and_both_bill_it(public: PublicModel) -> None:
    def server(link: Link) -> dict[str, int]:
        assert give_public(link, public)
        shake_hands(link, Hello(role="server", plan="p", model="m"), "client", SystemRandom())
        return _control(link)

    def client(link: Link) -> tuple[PublicModel, dict[str, int]]:
        got = fetch_public(link, name="theirs", pinned=public.digest())
        shake_hands(link, Hello(role="client", plan="p", model="m"), "server", SystemRandom())
        return got, _control(link)

    theirs, (got, ours) = _exchange(server, client)
    assert (got.config, got.ranges, got.name) == (public.config, public.ranges, "theirs")
    assert got.digest() == public.digest()
    assert got.tokenizer.encode("def f(x):") == public.tokenizer.encode("def f(x):")
    assert theirs == ours
    # The document, the frames' msgpack around it, and nothing else; a session of its own is billed apart.
    sent = len(public.head()) + len(public.text())
    assert 0 < ours[PUBLIC_LABEL] - sent < 100


def _control(link: Link) -> dict[str, int]:
    return {row.label: row.control_bytes for row in link.meter.bill().rows}


def test_names_of_classes_come_with_it(public: PublicModel) -> None:
    config = dataclasses.replace(public.config, head="classes", classes=2, tied_head=False)
    given = dataclasses.replace(public, config=config, labels=("bad", "good"))
    _, got = _exchange(lambda link: give_public(link, given), lambda link: fetch_public(link, name="m"))
    assert (got.labels, got.digest()) == (("bad", "good"), given.digest())
    assert dataclasses.replace(given, labels=("good", "bad")).digest() != given.digest()


def test_a_client_that_has_it_begins_with_the_handshake(public: PublicModel) -> None:
    def server(link: Link) -> bool:
        given = give_public(link, public)
        shake_hands(link, Hello(role="server", plan="p", model="m"), "client", SystemRandom())
        return given

    def client(link: Link) -> dict[str, int]:
        shake_hands(link, Hello(role="client", plan="p", model="m"), "server", SystemRandom())
        return _control(link)

    given, billed = _exchange(server, client)
    assert not given
    assert {label for label, size in billed.items() if size} == {HANDSHAKE_LABEL}


def test_a_pinned_digest_holds(public: PublicModel) -> None:
    other = dataclasses.replace(public, ranges={**public.ranges, "embedding/embed": 1.0})
    with pytest.raises(HandshakeFailed, match=f"expected digest {public.digest()}, got {other.digest()}"):
        _exchange(
            lambda link: give_public(link, other),
            lambda link: fetch_public(link, name="m", pinned=public.digest()),
        )


def test_a_tokenizer_of_several_frames(public: PublicModel) -> None:
    padded = dataclasses.replace(public, tokenizer_text=" " * (5 << 19) + public.text().decode())
    _, got = _exchange(lambda link: give_public(link, padded), lambda link: fetch_public(link, name="m"))
    assert got.text() == padded.text()


def _answering(head: object, text: bytes, version: int = PROTOCOL_VERSION) -> Callable[[Link], None]:
    """A server that says what it likes."""

    def server(link: Link) -> None:
        with link.meter.phase(Phase.CONTROL):
            link.recv_document(PUBLIC_LABEL, 64)
            link.send_document({"version": version, "head": head}, PUBLIC_LABEL)
            link.send([np.frombuffer(text, np.uint8)], 8, PUBLIC_LABEL)

    return server


def _with(public: PublicModel, **changed: Any) -> bytes:
    fields = {**json.loads(public.head()), **changed}
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _fields(public: PublicModel, part: str, **changed: Any) -> bytes:
    return _with(public, **{part: {**json.loads(public.head())[part], **changed}})


CASES: dict[str, tuple[Callable[[PublicModel], object], str]] = {
    "no bytes": (lambda _public: "text", "has no head"),
    "not JSON": (lambda _public: b"{", "not JSON"),
    "deep": (lambda _public: b"[" * 100_000, "not JSON: RecursionError"),
    "no object": (lambda _public: b"[]", "must be an object"),
    "NaN": (lambda public: public.head().replace(b'"norm_eps":1e-05', b'"norm_eps":NaN'), "not JSON"),
    "surplus": (lambda public: _with(public, weights=[]), "expected the fields"),
    "a config that is none": (lambda public: _with(public, config=[]), "config must be an object"),
    "a large tokenizer": (
        lambda public: _with(public, tokenizer_bytes=MOST_TOKENIZER_BYTES + 1),
        "a tokenizer of 33554433 bytes",
    ),
    "a size that is none": (lambda public: _with(public, tokenizer_bytes=True), "a tokenizer of True"),
    "a digest that is none": (lambda public: _with(public, tokenizer_sha256="x"), "not 64 hex digits"),
    "another text": (lambda public: _with(public, tokenizer_sha256="0" * 64), "not the one that is named"),
    "text for a number": (lambda public: _fields(public, "config", layers="2"), "layers is '2'"),
    "true for a number": (lambda public: _fields(public, "config", width=True), "width is 'True'"),
    "no such norm": (lambda public: _fields(public, "config", norm="batchnorm"), "norm is 'batchnorm'"),
    "a shape of nobody": (lambda public: _fields(public, "config", layers=1 << 20), "at most 1024"),
    "a field of nobody": (lambda public: _fields(public, "config", colour=1), "unknown"),
    "a range that is text": (lambda public: _fields(public, "ranges", x="1"), "range 'x'"),
    "a range below zero": (lambda public: _fields(public, "ranges", x=-1.0), "range 'x'"),
    "a range longer than a float": (lambda public: _with(public, ranges={"x": 10**400}), "range 'x'"),
    "a number longer than a float": (
        lambda public: _fields(public, "config", norm_eps=10**400),
        "norm_eps is .*a finite number",
    ),
    "an infinite range": (lambda public: _with(public, ranges={"x": 1e999}), "not JSON|range 'x'"),
    "a template that is none": (
        lambda public: _fields(public, "tokenizer", chat_template=3),
        "chat_template must be text",
    ),
    "a stop that is none": (lambda public: _fields(public, "tokenizer", stop=[-1]), "stop must be a list"),
    "a setting of nobody": (lambda public: _fields(public, "tokenizer", code="x"), "other settings"),
    "labels that are none": (lambda public: _with(public, labels={"0": "good"}), "labels must be a list"),
    "a label that is none": (lambda public: _with(public, labels=[0]), "labels must be a list of texts"),
    "labels of nothing": (lambda public: _with(public, labels=["good"]), "1 labels for 0 classes"),
    "many labels": (lambda public: _with(public, labels=[""] * 4097), "at most 4096"),
    "half a letter": (lambda public: _with(public, labels=["\ud800"]), "not JSON: UnicodeEncodeError"),
    "a long label": (lambda public: _with(public, labels=["x" * 257]), "more than 256"),
    "many classes": (
        lambda public: _fields(public, "config", classes=4097, head="classes", tied_head=False),
        "classes is 4097",
    ),
    "spaces between": (lambda public: public.head() + b" ", "not in the one form"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_client_cannot_use_is_refused_by_name(public: PublicModel, case: str) -> None:
    make, said = CASES[case]
    with pytest.raises(PeerMismatch, match=said):
        _exchange(_answering(make(public), public.text()), lambda link: fetch_public(link, name="m"))


@pytest.mark.parametrize("text", [b"{}", b'{"version": "1.0"}', b"\xff\xfe", b"[" * 5000])
def test_a_text_that_is_no_tokenizer(public: PublicModel, text: bytes) -> None:
    head = _with(public, tokenizer_bytes=len(text), tokenizer_sha256=hashlib.sha256(text).hexdigest())
    with pytest.raises(PeerMismatch, match=r"not a tokenizer|not UTF-8"):
        _exchange(_answering(head, text), lambda link: fetch_public(link, name="m"))


def test_a_head_is_no_longer_than_it_may_be(public: PublicModel) -> None:
    with pytest.raises((PeerMismatch, MalformedFrame), match="at most"):
        _exchange(_answering(b" " * (MOST_HEAD_BYTES + 100), b""), lambda link: fetch_public(link, name="m"))
    with pytest.raises(ConfigError, match="at most"):
        Head.read(b" " * (MOST_HEAD_BYTES + 1), "x")


def test_another_version_is_named(public: PublicModel) -> None:
    with pytest.raises(HandshakeFailed, match="protocol version"):
        _exchange(
            _answering(public.head(), public.text(), version=3), lambda link: fetch_public(link, name="m")
        )
