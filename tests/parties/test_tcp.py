"""0MQ over TCP: exact sizes against the kernel's counters, who gets in, who is turned away, lost peers."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from parties.errors import (
    ConfigError,
    HandshakeFailed,
    InsecureRefused,
    MalformedFrame,
    PeerClosed,
    PeerTimeout,
    RangeError,
)
from parties.keys import KeyPair
from parties.tcp import CHUNK_BYTES, Listener, TcpChannel, channel, chunks, connect, os_sockets
from tests.deadlines import HANG_S, SILENCE_S
from tests.parties.pairs import CONNECTOR, LISTENER, tcp_pair

STRANGER = KeyPair.generate()
MESSAGES = (
    [0],
    [1],
    [0, 0],
    [221],
    [222],
    [223],
    [255],
    [256],
    [65_535, 65_536],
    [1, 300, 0, 70_000],
    [1 << 21],
    [CHUNK_BYTES - 3],
    [CHUNK_BYTES - 2, CHUNK_BYTES - 1, CHUNK_BYTES],
    [CHUNK_BYTES, 2 * CHUNK_BYTES, 5],
)


class Clock:
    """Time that passes only by sleeping, or when told, so that no deadline comes before what it waits for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@contextmanager
def _accepting() -> Generator[tuple[str, ThreadPoolExecutor, Listener]]:
    listener = Listener("tcp://127.0.0.1:*", LISTENER, [CONNECTOR.public])
    with closing(listener), ThreadPoolExecutor(2) as pool:
        yield listener.endpoint, pool, listener


@pytest.mark.skipif(not os_sockets.can_count(), reason="only Linux tells")
@pytest.mark.parametrize("secure", [True, False])
def test_bytes_are_those_of_the_kernel(secure: bool) -> None:
    listening, connecting = tcp_pair(secure=secure)
    with listening, connecting:
        sent = {end: end.preamble_bytes()[0] for end in (listening, connecting)}
        for sizes in MESSAGES:
            for sender, receiver in ((connecting, listening), (listening, connecting)):
                message = [bytes(size) for size in sizes]
                sender.send(message)
                receiver.recv()
                sent[sender] += sender.wire_bytes(message)
                counts = sender.kernel_bytes(), receiver.kernel_bytes()
                assert counts == (
                    (sent[sender], sent[receiver]),
                    (sent[receiver], sent[sender]),
                ), f"after a message of {sizes}"
        assert listening.preamble_bytes() == connecting.preamble_bytes()[::-1]


def test_the_peers_key_is_known() -> None:
    listening, connecting = tcp_pair()
    with listening, connecting:
        assert listening.peer_key == CONNECTOR.public
        assert connecting.peer_key == LISTENER.public
        assert listening.secure


def test_an_unlisted_key_gets_nowhere(clock: Clock) -> None:
    with _accepting() as (endpoint, pool, listener):
        accepted = pool.submit(listener.accept, HANG_S)
        with pytest.raises(HandshakeFailed, match="not on its list"):
            connect(endpoint, STRANGER, LISTENER.public, connect_timeout_s=HANG_S)
        clock.sleep(HANG_S)
        with pytest.raises(PeerTimeout, match=r"turned away: .*is not on the list"):
            accepted.result()


def test_a_listener_with_another_key_is_refused(clock: Clock) -> None:
    with _accepting() as (endpoint, pool, listener):
        accepted = pool.submit(listener.accept, HANG_S)
        with pytest.raises(HandshakeFailed, match="public key is not the one"):
            connect(endpoint, CONNECTOR, STRANGER.public, connect_timeout_s=HANG_S)
        clock.sleep(HANG_S)
        with pytest.raises(PeerTimeout, match="turned away"):
            accepted.result()


def test_the_right_peer_gets_in_after_strangers() -> None:
    with _accepting() as (endpoint, pool, listener):
        accepted = pool.submit(listener.accept, HANG_S, HANG_S)
        host, port = endpoint.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))):  # one that never speaks, for all of the session
            with pytest.raises(HandshakeFailed):
                connect(endpoint, STRANGER, LISTENER.public, connect_timeout_s=HANG_S)
            connecting = connect(endpoint, CONNECTOR, LISTENER.public, connect_timeout_s=HANG_S)
            with accepted.result() as listening, connecting:
                connecting.send([b"hello"])
                assert listening.recv() == [b"hello"]
                if os_sockets.can_count():
                    assert listening.kernel_bytes() is not None


def test_a_stranger_that_leaves_is_not_taken_for_the_peer() -> None:
    with _accepting() as (endpoint, pool, listener):
        accepted = pool.submit(listener.accept, HANG_S, HANG_S)
        host, port = endpoint.removeprefix("tcp://").split(":")
        stranger = socket.create_connection((host, int(port)))
        connecting = connect(endpoint, CONNECTOR, LISTENER.public, connect_timeout_s=HANG_S)
        with accepted.result() as listening, connecting:
            stranger.close()
            listening.recv_timeout_s = SILENCE_S
            with pytest.raises(PeerTimeout):
                listening.recv()
            listening.recv_timeout_s = HANG_S
            connecting.send([b"still here"])
            assert listening.recv() == [b"still here"]


def test_a_peer_that_leaves_once_it_is_let_in() -> None:
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    listener = Listener("tcp://127.0.0.1:*", None, [], allow_insecure=True)
    host, port = listener.endpoint.removeprefix("tcp://").split(":")
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(listener.accept, HANG_S)
        with socket.create_connection((host, int(port))) as peer:
            peer.sendall(greeting)
            answer = b""
            while len(answer) <= len(
                greeting
            ):  # what follows the listener's greeting says that we are let in
                answer += (more := peer.recv(1000))
                assert more
        with pytest.raises(HandshakeFailed, match="middle of the handshake"):
            accepted.result()


def test_a_second_peer_does_not_get_in_beside_the_first() -> None:
    with _accepting() as (endpoint, pool, listener):
        accepted = pool.submit(listener.accept, HANG_S, HANG_S)
        first = connect(endpoint, CONNECTOR, LISTENER.public, connect_timeout_s=HANG_S, recv_timeout_s=HANG_S)
        with accepted.result() as listening, first:
            second = pool.submit(connect, endpoint, CONNECTOR, LISTENER.public, connect_timeout_s=1.5)
            listening.recv_timeout_s = SILENCE_S
            while not second.done():  # while it waits, it turns away who knocks
                with pytest.raises(PeerTimeout):
                    listening.recv()
            with pytest.raises((HandshakeFailed, PeerTimeout)):
                second.result()
            listening.recv_timeout_s = HANG_S
            listening.send([b"for the first"])
            assert first.recv() == [b"for the first"]


def test_connecting_waits_for_a_listener() -> None:
    with _accepting() as (endpoint, pool, listener):
        listener.close()
        early = pool.submit(connect, endpoint, CONNECTOR, LISTENER.public, connect_timeout_s=HANG_S)
        time.sleep(SILENCE_S)
        with (
            Listener(endpoint, LISTENER, [CONNECTOR.public]).accept(HANG_S, HANG_S) as listening,
            early.result() as other,
        ):
            other.send([b"x"])
            assert listening.recv() == [b"x"]


def test_nobody_there(clock: Clock) -> None:
    with _accepting() as (endpoint, _pool, listener):
        listener.close()
        with pytest.raises(PeerTimeout, match="nobody listens"):
            connect(endpoint, CONNECTOR, LISTENER.public, connect_timeout_s=0.3)


def test_one_side_without_encryption(clock: Clock) -> None:
    with _accepting() as (endpoint, pool, listener):
        accepted = pool.submit(listener.accept, HANG_S)
        with pytest.raises(HandshakeFailed, match="only one side uses encryption"):
            connect(endpoint, None, None, connect_timeout_s=HANG_S, allow_insecure=True)
        clock.sleep(HANG_S)
        with pytest.raises(PeerTimeout, match="without CURVE"):
            accepted.result()


def test_no_keys_are_refused_unless_allowed() -> None:
    with pytest.raises(InsecureRefused):
        Listener("tcp://127.0.0.1:*", None, [])
    with pytest.raises(InsecureRefused):
        connect("tcp://127.0.0.1:9", None, None)


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:9", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "ipc:///x:1"]
)
def test_malformed_endpoints(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="tcp://host:port"):
        Listener(endpoint, LISTENER, [CONNECTOR.public])
    with pytest.raises(ConfigError, match="tcp://host:port"):
        connect(endpoint, CONNECTOR, LISTENER.public)


def test_keys_are_checked_before_anything_else() -> None:
    with pytest.raises(ConfigError, match="listening party's public key"):
        connect("tcp://127.0.0.1:9", CONNECTOR, "too short")
    with pytest.raises(ConfigError, match="nobody may connect"):
        Listener("tcp://127.0.0.1:*", LISTENER, [])


def test_a_taken_port_and_its_release() -> None:
    with _accepting() as (endpoint, _pool, listener):
        with pytest.raises(ConfigError, match=r"cannot listen.*in use"):
            Listener(endpoint, LISTENER, [CONNECTOR.public])
        listener.close()
        Listener(endpoint, LISTENER, [CONNECTOR.public]).close()


def test_a_longer_message_than_is_awaited_is_refused() -> None:
    listening, connecting = tcp_pair()
    with listening, connecting:
        connecting.send([b"1234"])
        connecting.send([b"12345", bytes(1 << 22)])
        assert listening.recv(4) == [b"1234"]
        with pytest.raises(MalformedFrame, match="more than the 300000 bytes"):
            listening.recv(300_000)


def test_a_trickle_does_not_keep_a_reader_waiting() -> None:
    listening, connecting = tcp_pair(secure=False)
    with listening, connecting, ThreadPoolExecutor(1) as pool:
        listening.recv_timeout_s = 4 * SILENCE_S
        wire = connecting._open()  # pyright: ignore[reportPrivateUsage]

        def trickle() -> None:
            wire.send(b"\xff\xff")
            for _ in range(12):
                time.sleep(SILENCE_S)
                wire.send(b"")

        sent = pool.submit(trickle)
        with pytest.raises(PeerTimeout):
            listening.recv(64)
        assert not sent.done()


def test_too_many_parts_are_not_sent() -> None:
    listening, connecting = tcp_pair()
    with listening, connecting:
        with pytest.raises(RangeError, match="65536 parts"):
            connecting.send([b""] * (1 << 16))
        connecting.send([b""])
        assert listening.recv() == [b""]


def test_the_rest_of_a_message_may_come_later() -> None:
    listening, connecting = tcp_pair(secure=False)
    with listening, connecting:
        first, *rest = chunks.chunks([bytes(CHUNK_BYTES), b"end"])
        wire = connecting._open()  # pyright: ignore[reportPrivateUsage]
        wire.send(first)
        listening.recv_timeout_s = SILENCE_S
        with pytest.raises(PeerTimeout):
            listening.recv()
        for chunk in rest:
            wire.send(chunk)
        listening.recv_timeout_s = HANG_S
        assert listening.recv() == [bytes(CHUNK_BYTES), b"end"]


def test_closing_flushes_a_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "LINGER_S", HANG_S)
    for swap in (False, True):
        ends = tcp_pair()
        closing_end, reading = ends[::-1] if swap else ends
        with reading:
            for _message in range(40):
                closing_end.send([bytes(1 << 20)])
            with ThreadPoolExecutor(1) as pool:
                closed = pool.submit(closing_end.close)  # what does not fit the reader's memory waits for it
                assert sum(len(reading.recv()[0]) for _message in range(40)) == 40 << 20
                closed.result()


def test_after_closing_nothing_is_counted() -> None:
    listening, connecting = tcp_pair()
    listening.close()
    connecting.close()
    assert listening.kernel_bytes() is None
    with pytest.raises(PeerClosed):
        listening.preamble_bytes()


def test_a_listener_that_nobody_visits_lets_go() -> None:
    listener = Listener("tcp://127.0.0.1:*", LISTENER, [CONNECTOR.public])
    with pytest.raises(PeerTimeout, match="no peer at"):
        listener.accept(SILENCE_S)
    Listener(listener.endpoint, LISTENER, [CONNECTOR.public]).close()


def test_channels_are_of_the_declared_class() -> None:
    listening, connecting = tcp_pair(secure=False)
    with listening, connecting:
        assert isinstance(listening, TcpChannel)
        assert (listening.peer_key, listening.secure) == (None, False)
