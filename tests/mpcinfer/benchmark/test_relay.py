"""The relay: when bytes are due, on a clock that the test turns; and what comes through it, over sockets."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
from collections.abc import Generator

import pytest

from mpcinfer.benchmark.emulation import RELAY, emulated
from mpcinfer.benchmark.framing import line_bytes
from mpcinfer.benchmark.network import Network
from mpcinfer.benchmark.relay import Direction, Line, await_listener, bound, connect
from tests.deadlines import HANG_S

Ends = tuple[Direction, socket.socket, socket.socket]


def _direction(line: Line) -> Generator[Ends]:
    """What goes into the first socket comes out of the second."""
    near, source = socket.socketpair()
    sink, far = socket.socketpair()
    with near, source, sink, far:
        for each in (source, sink, far):
            each.setblocking(False)
        yield Direction(source, sink, line), near, far


@pytest.fixture
def late() -> Generator[Ends]:
    """A tenth of a second, without a limit."""
    yield from _direction(Line(0.1, None))


@pytest.fixture
def narrow() -> Generator[Ends]:
    """A kilobyte a second."""
    yield from _direction(Line(0.5, 1000.0))


def test_bytes_come_a_latency_later(late: Ends) -> None:
    way, near, far = late
    near.sendall(b"message")
    way.read(10.0)
    assert way.due_s == pytest.approx(10.1)
    way.deliver(10.09)
    with pytest.raises(BlockingIOError):
        far.recv(10)
    way.deliver(10.11)
    assert far.recv(10) == b"message"
    assert way.due_s is None


def test_bytes_leave_one_after_the_other(narrow: Ends) -> None:
    way, near, _ = narrow
    near.sendall(bytes(100))
    way.read(0.0)
    near.sendall(bytes(100))
    way.read(0.0)
    assert way.due_s == pytest.approx(line_bytes(100) / 1000 + 0.5)
    way.deliver(way.due_s or 0.0)
    assert way.due_s == pytest.approx(line_bytes(200) / 1000 + 0.5)


def test_an_idle_line_is_not_saved_up(narrow: Ends) -> None:
    way, near, _ = narrow
    for now in (0.0, 100.0):
        near.sendall(bytes(100))
        way.read(now)
        assert way.due_s == pytest.approx(now + line_bytes(100) / 1000 + 0.5)
        way.deliver(now + 99.0)


def test_a_long_read_is_delivered_piece_by_piece(narrow: Ends) -> None:
    way, near, far = narrow
    near.sendall(bytes(3000))
    way.read(0.0)
    way.deliver(line_bytes(1448) / 1000 + 0.5)
    assert len(far.recv(3000)) == 1448


def test_a_full_sink_keeps_what_it_did_not_take(late: Ends) -> None:
    way, near, far = late
    data = os.urandom(1 << 22)
    near.setblocking(False)
    sent, got = 0, b""
    while len(got) < len(data):
        with contextlib.suppress(BlockingIOError):
            sent += near.send(data[sent : sent + (1 << 16)])
        if way.hungry:
            way.read(0.0)
        way.blocked = False
        way.deliver(1.0)
        if way.blocked:
            assert way.due_s is None, "nobody waits for a time, but for the sink"
            got += far.recv(1 << 20)
        elif sent == len(data):
            got += far.recv(1 << 20)
    assert got == data


def test_the_end_comes_after_what_was_sent(late: Ends) -> None:
    way, near, far = late
    near.sendall(b"last")
    way.read(0.0)
    near.close()
    way.read(0.0)
    way.deliver(0.05)
    assert not way.closed
    way.deliver(1.0)
    assert way.closed
    assert far.recv(10) == b"last"
    assert far.recv(10) == b""


def test_a_connection_through_an_emulated_network() -> None:
    network = Network(name="test", bandwidth=1e9, latency=0.001)
    data = os.urandom(300_000)
    with emulated(network, RELAY) as through, socket.create_server(("127.0.0.1", 0)) as listener:
        assert through.means == RELAY
        assert 0 <= through.own_s < math.inf
        endpoint = through(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        with connect(("127.0.0.1", int(endpoint.rsplit(":", 1)[1]))) as near:
            near.settimeout(HANG_S)
            listener.settimeout(HANG_S)
            far, _ = listener.accept()
            with far:
                far.settimeout(HANG_S)
                near.sendall(data[:100_000])
                assert _exactly(far, 100_000) == data[:100_000]
                far.sendall(data)
                assert _exactly(near, 300_000) == data
                near.shutdown(socket.SHUT_WR)
                assert far.recv(1) == b""


def _exactly(end: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        part = end.recv(count - len(got))
        assert part, "ended early"
        got += part
    return got


def test_a_relay_refuses_until_somebody_listens() -> None:
    with bound() as target:
        port = target.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        waiting = threading.Thread(target=await_listener, args=(port,), daemon=True)
        waiting.start()
        target.listen()
        waiting.join(HANG_S)
        assert not waiting.is_alive()
