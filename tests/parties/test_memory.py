"""What strangers and the peer can make a process hold in memory."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq

from bench.fuzz.raw import GREETING, hello
from parties.errors import MalformedFrame, MpcInferError, PeerClosed
from parties.keys import KeyPair, new_keypair
from parties.tcp import CHUNK_BYTES, MAX_QUEUED_BYTES, MAX_WAITING, Listener, TcpChannel, connect, os_sockets
from tests.deadlines import HANG_S, SILENCE_S, until
from tests.parties.pairs import CONNECTOR, LISTENER, tcp_pair
from tests.parties.strangers import CLAIMS, resident_bytes, strangers

pytestmark = pytest.mark.skipif(not os_sockets.can_count(), reason="only Linux tells")


@pytest.fixture
def listening(tmp_path: Path) -> Generator[tuple[str, int, tuple[Path, Path]]]:
    """A party that waits for its peer as a process of its own: endpoint, process, and the peer's keys."""
    for name in ("own", "peer"):
        new_keypair(tmp_path, name)
    files = [str(tmp_path / "own.secret"), str(tmp_path / "peer.public")]
    command = [sys.executable, "-m", "tests.parties.talker", "listen", "tcp://127.0.0.1:*", *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        yield endpoint, process.pid, (tmp_path / "peer.secret", tmp_path / "own.public")
        process.kill()


@pytest.mark.parametrize("claim", CLAIMS)
def test_strangers_get_little_memory_and_the_peer_gets_in(
    listening: tuple[str, int, tuple[Path, Path]], claim: int
) -> None:
    endpoint, pid, (own, peer) = listening
    before = resident_bytes(pid)
    with strangers(endpoint, claim, 5.0):
        time.sleep(SILENCE_S)
        grown = resident_bytes(pid) - before
        command = [sys.executable, "-m", "tests.parties.talker", "connect", endpoint, str(own), str(peer)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "talking\n"
            client.kill()
    assert grown < 2 * MAX_WAITING * CHUNK_BYTES < 64 << 20


def test_of_silent_strangers_some_are_kept() -> None:
    listener = Listener("tcp://127.0.0.1:*", LISTENER, [CONNECTOR.public])
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(listener.accept, HANG_S, HANG_S)
        with strangers(listener.endpoint, 2, 0.0) as sockets:
            connections = listener._wire.connections  # pyright: ignore[reportPrivateUsage]
            assert until(lambda: len(connections) == MAX_WAITING)
            oldest, newest = sockets[0], sockets[-1]
            oldest.setblocking(True)
            while oldest.recv(1000):  # what it was sent before it was cut off
                pass
            newest.setblocking(True)
            assert newest.recv(1000)
            connecting = connect(listener.endpoint, CONNECTOR, LISTENER.public, connect_timeout_s=HANG_S)
            with accepted.result() as inside, connecting:
                assert until(lambda: len(connections) <= MAX_WAITING + 1)
                connecting.send([b"still here"])
                assert inside.recv() == [b"still here"]


def test_of_fewer_silent_strangers_all_are_kept() -> None:
    few = MAX_WAITING - 1
    listener = Listener("tcp://127.0.0.1:*", LISTENER, [CONNECTOR.public])
    connections = listener._wire.connections  # pyright: ignore[reportPrivateUsage]
    with contextlib.closing(listener), contextlib.ExitStack() as stack:
        sockets = list[socket.socket]()
        for number in range(few):
            sockets += stack.enter_context(strangers(listener.endpoint, 2, 0.0, 1))
            assert until(lambda seen=number + 1: len(connections) == seen)
        time.sleep(SILENCE_S)  # the watcher has looked once more
        assert len(connections) == few
        for each in sockets:
            each.setblocking(True)
            assert each.recv(1000)  # a greeting; where it was cut off, nothing would follow
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.recv(1000)


def test_who_knows_the_public_key_is_ended_after_those_who_do_not() -> None:
    """Those who do not come later, and are more than may wait: it is not the oldest's turn."""
    listener = Listener("tcp://127.0.0.1:*", LISTENER, [CONNECTOR.public])
    host, port = listener.endpoint.removeprefix("tcp://").split(":")
    connections = listener._wire.connections  # pyright: ignore[reportPrivateUsage]
    said = GREETING + hello(KeyPair.generate(), LISTENER.public)
    with contextlib.closing(listener), socket.create_connection((host, int(port))) as first:
        first.sendall(said)
        assert len(first.recv(64, socket.MSG_WAITALL)) == 64  # a greeting
        assert len(first.recv(170, socket.MSG_WAITALL)) == 170  # WELCOME
        with strangers(listener.endpoint, 2, 0.0):
            assert until(lambda: len(connections) == MAX_WAITING)
            first.setblocking(False)
            with pytest.raises(BlockingIOError):
                first.recv(1000)


def _socket(channel: TcpChannel) -> zmq.Socket[bytes]:
    return channel._open().socket  # pyright: ignore[reportPrivateUsage]


def test_what_a_peer_sends_ahead_waits_at_the_peer() -> None:
    reading, sending = tcp_pair()
    with reading, sending:
        total = 4 * MAX_QUEUED_BYTES
        for _ in range(total // CHUNK_BYTES):
            sending.send([bytes(CHUNK_BYTES - 3)])
        time.sleep(SILENCE_S)
        counted = reading.kernel_bytes()
        assert counted is not None
        assert counted[1] < MAX_QUEUED_BYTES
        for _ in range(total // CHUNK_BYTES):
            assert len(reading.recv()[0]) == CHUNK_BYTES - 3


def test_a_peer_with_a_message_of_too_many_frames_is_cut_off() -> None:
    reading, sending = tcp_pair()
    with reading, sending:
        _socket(sending).send_multipart([bytes(CHUNK_BYTES)] * (6 * MAX_QUEUED_BYTES // CHUNK_BYTES))
        with pytest.raises(PeerClosed, match="cut off"):
            reading.recv()


def test_frames_in_one_message_are_refused() -> None:
    reading, sending = tcp_pair()
    with reading, sending:
        _socket(sending).send_multipart([b"\x01\x00", b"more"])
        with pytest.raises(MalformedFrame, match="several frames"):
            reading.recv()


@pytest.mark.parametrize("first", [b"", b"\x01", b"\x00\x00"])
def test_a_message_says_how_many_parts_it_has(first: bytes) -> None:
    reading, sending = tcp_pair()
    with reading, sending:
        _socket(sending).send(first)
        with pytest.raises(MalformedFrame, match="how many parts"):
            reading.recv()


def test_a_chunk_over_the_limit_ends_the_connection() -> None:
    reading, sending = tcp_pair()
    with reading, sending:
        sending.send([b"fits"])
        _socket(sending).send(bytes(CHUNK_BYTES + 1))
        assert reading.recv() == [b"fits"]
        with pytest.raises(MpcInferError, match="no program of ours"):
            reading.recv()


def test_what_is_handed_over_after_the_news_of_the_loss_is_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parties.tcp.socket.HANDOVER_S", HANG_S)
    reading, sending = tcp_pair()
    with reading, sending, ThreadPoolExecutor(1) as pool:
        reading._open().watcher.lost = True  # pyright: ignore[reportPrivateUsage]
        received = pool.submit(reading.recv)
        time.sleep(SILENCE_S)
        sending.send([b"late"])
        assert received.result(HANG_S) == [b"late"]
