"""An endpoint for many: who comes in, what is answered, and what a bad message does to others."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from parties import admission
from parties.admission import ADMISSION_LABEL, Request, seek, worker_endpoint
from parties.channel import Channel
from parties.errors import AdmissionRefused, HandshakeFailed, PeerError, PeerMismatch, PeerTimeout
from parties.keys import KeyPair, new_keypair
from parties.link import Link
from parties.meter import Meter
from parties.tcp import Listener, Reception, TcpChannel, Visitor, connect
from tests.deadlines import HANG_S


@dataclass
class Front:
    """A reception in a thread, which answers everything as it is told to."""

    server: KeyPair
    allowed: set[str]
    answers: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)
    ended: Event = field(default_factory=Event)
    endpoint: str = ""

    def __post_init__(self) -> None:
        self.reception = Reception(
            ["tcp://127.0.0.1:*"],
            self.server,
            ADMISSION_LABEL,
            may_enter=lambda key: key in self.allowed,
            on_malformed=lambda key, why: self.malformed.append(why),
        )
        (self.endpoint,) = self.reception.endpoints
        self.thread = Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.ended.is_set():
            for visitor, document in self.reception.requests(0.02):
                self._answer(visitor, document)
        self.reception.close()

    def _answer(self, visitor: Visitor, document: dict[str, Any]) -> None:
        self.asked.append((visitor.key, document))
        self.reception.answer(visitor, self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

    def dial(self, keys: KeyPair, endpoint: str | None = None, most_s: float = HANG_S) -> TcpChannel:
        return connect(
            endpoint or self.endpoint,
            keys,
            self.server.public,
            connect_timeout_s=most_s,
            recv_timeout_s=HANG_S,
        )


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, KeyPair]:
    return {name: new_keypair(tmp_path, name) for name in ("server", "alice", "bob", "mallory")}


@pytest.fixture
def front(keys: dict[str, KeyPair]) -> Generator[Front]:
    front = Front(keys["server"], {keys["alice"].public, keys["bob"].public})
    yield front
    front.ended.set()
    front.thread.join(HANG_S)


def asks(front: Front, keys: KeyPair, **more: Any) -> Link:
    """Seeks a session as a client."""

    def dial(endpoint: str, most_s: float | None) -> Channel:
        return front.dial(keys, endpoint, most_s or HANG_S)

    return seek(dial, front.endpoint, Request(role="client", context=7), **more)


def test_many_ask_at_once_and_each_is_known_by_its_key(front: Front, keys: dict[str, KeyPair]) -> None:
    front.answers = [{"refused": "full", "message": "too many wait", "retry_s": 3.0}]
    names = ["alice", "bob"] * 8

    def refused(name: str) -> AdmissionRefused:
        with pytest.raises(AdmissionRefused, match=r"too many wait \(full\); try again in 3 s") as raised:
            asks(front, keys[name])
        return raised.value

    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(refused, names))
    assert [(each.reason, each.retry_s) for each in said] == [("full", 3.0)] * 16
    assert sorted(key for key, _ in front.asked) == sorted(keys[name].public for name in names)
    assert {document["context"] for _, document in front.asked} == {7}


def test_who_waits_hears_its_place_and_then_goes_to_its_worker(
    front: Front, keys: dict[str, KeyPair]
) -> None:
    worker = Listener("tcp://127.0.0.1:*", keys["server"], [keys["alice"].public])
    port = int(worker.endpoint.rpartition(":")[2])
    ticket, places = bytes(range(16)), list[int]()
    front.answers = [{"wait": 2, "ticket": ticket}, {"wait": 1, "ticket": ticket}, {"port": port}]
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(worker.accept, HANG_S, HANG_S)
        with asks(front, keys["alice"], rank=1, on_wait=places.append) as link, accepted.result() as channel:
            assert not link.meter.bill().rows  # what the front was asked is in no session's bill
            link.send_document({"hello": 1}, "x")
            assert Link(channel, Meter(), 0).recv_document("x") == {"hello": 1}
    assert places == [2, 1]
    assert [document["ticket"] for _, document in front.asked] == [b"", ticket, ticket]


def test_who_was_sent_to_a_worker_that_is_gone_asks_again(
    front: Front, keys: dict[str, KeyPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "WORKER_S", 0.5)
    gone = Listener("tcp://127.0.0.1:*", keys["server"], [keys["alice"].public])
    gone.close()
    front.answers = [{"port": int(gone.endpoint.rpartition(":")[2])}, {"here": True}]
    with asks(front, keys["alice"]):
        assert len(front.asked) == 2
    front.answers = [{"port": int(gone.endpoint.rpartition(":")[2])}]
    with pytest.raises(PeerTimeout, match="nobody listens"):
        asks(front, keys["alice"])


def test_a_stranger_is_refused_and_a_key_that_is_listed_now_is_not(
    front: Front, keys: dict[str, KeyPair]
) -> None:
    front.answers = [{"here": True}]
    with pytest.raises(HandshakeFailed, match="not on its list"):
        asks(front, keys["mallory"])
    front.allowed.add(keys["mallory"].public)
    asks(front, keys["mallory"]).close()


def test_a_bad_message_ends_nobody_elses_visit(front: Front, keys: dict[str, KeyPair]) -> None:
    front.answers = [{"here": True}]
    bad = [
        [b"\x00"],
        [b"\xc1" * 40],
        [b"x" * 3000],
        [b"\x95\xc4\x00\x05\xa1x\x00\x90"],
        [b"\x95\xc4\x00\x00\xb1session.admission\x00\x91\x92\x08\x01", b"\x01"],
    ]
    for parts in bad:
        with front.dial(keys["bob"]) as channel:
            channel.send(parts)
            with asks(front, keys["alice"]) as link:
                assert isinstance(link.channel, TcpChannel)
    with asks(front, keys["alice"]):
        pass
    assert len(front.malformed) >= 4  # what is too long ends its connection before it is read


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"here": 1},
        {"port": 0},
        {"port": True},
        {"port": 1 << 16},
        {"wait": 0, "ticket": bytes(16)},
        {"wait": 1, "ticket": b"short"},
        {"refused": "because", "message": "no"},
        {"refused": "full", "message": "no", "retry_s": "soon"},
        {"refused": "full", "message": "no", "retry_s": float("nan")},
    ],
)
def test_an_answer_that_is_none_is_named(
    front: Front, keys: dict[str, KeyPair], answer: dict[str, Any]
) -> None:
    front.answers = [answer]
    with pytest.raises(PeerError):
        asks(front, keys["alice"])


@pytest.mark.parametrize(
    ("front", "host", "expected"),
    [
        ("tcp://192.0.2.1:7100", "192.0.2.7", "tcp://192.0.2.7:7200"),
        ("tcp://192.0.2.1:7100", "2001:db8::7", "tcp://[2001:db8::7]:7200"),
        ("tcp://[2001:db8::1]:7100", "192.0.2.7", "tcp://192.0.2.7:7200"),
        ("tcp://192.0.2.1:7100", "node-7.example.org", "tcp://node-7.example.org:7200"),
        ("tcp://server:7100", "10.0.0.7", "tcp://10.0.0.7:7200"),
        ("tcp://127.0.0.1:7100", "127.0.0.2", "tcp://127.0.0.2:7200"),
        ("tcp://[2001:db8::1]:7100", None, "tcp://[2001:db8::1]:7200"),
    ],
)
def test_a_worker_may_be_on_another_host(front: str, host: str | None, expected: str) -> None:
    assert worker_endpoint(front, host, 7200) == expected


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            7,
            b"192.0.2.7",
            "192.0.2.7:80",
            "a b",
            "-a.org",
            "a..org",
            "a" * 64,
            "a." * 127 + "org",
            "fe80::1%1",
        ),
        *("192.0.2", "0x7f000001", "2130706433", "a.org/", "@a.org", "*", "::", "0.0.0.0"),
        *("127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "224.0.0.1", "localhost", "a.localhost"),
    ],
)
def test_a_host_that_is_none_or_is_oneself_is_refused(host: object) -> None:
    with pytest.raises(PeerMismatch, match=r"session\.admission: "):
        worker_endpoint("tcp://192.0.2.1:7100", host, 7200)
