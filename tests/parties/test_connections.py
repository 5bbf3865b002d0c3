"""0MQ's numbers, its sizes, and the kernel's counters."""

from __future__ import annotations

import ast
import os
import socket
import struct
from pathlib import Path

import pytest
import zmq

from parties.errors import ConfigError
from parties.tcp import os_sockets, zmtp
from parties.tcp.connections import Connections, Event

ROOT = Path(__file__).parents[2]


def test_event_numbers_are_those_of_zeromq() -> None:
    assert {event.name: int(event) for event in Event} == {
        event.name: int(getattr(zmq.Event, event.name)) for event in Event
    }


def test_only_one_package_imports_zmq() -> None:
    def imports_zmq(path: Path) -> bool:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        return any(name.split(".")[0] == "zmq" for name in names)

    files = [
        path
        for folder in ("parties", "protocols", "mpcinfer", "bench")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert {path.relative_to(ROOT).parent.as_posix() for path in files if imports_zmq(path)} == {
        "parties/tcp"
    }


@pytest.fixture
def tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _address = server.accept()
    return one, other


@pytest.mark.skipif(not os_sockets.can_count(), reason="only Linux tells")
def test_counters_and_descriptors(tcp: tuple[socket.socket, socket.socket]) -> None:
    one, other = tcp
    with one, other:
        cookie = os_sockets.socket_cookie(one.fileno())
        one.sendall(bytes(1234))
        assert len(other.recv(1234, socket.MSG_WAITALL)) == 1234
        assert os_sockets.tcp_bytes(one.fileno(), cookie) == (1234, 0)
        assert os_sockets.tcp_bytes(other.fileno(), os_sockets.socket_cookie(other.fileno())) == (0, 1234)
        assert os_sockets.tcp_bytes(other.fileno(), cookie) is None, "another socket behind the descriptor"
        assert os_sockets.tcp_bytes(one.fileno(), b"") is None
        descriptor = one.fileno()
    assert os_sockets.socket_cookie(descriptor) == b""
    assert os_sockets.tcp_bytes(descriptor, cookie) is None


@pytest.mark.skipif(not os_sockets.can_count(), reason="only Linux tells")
def test_a_descriptor_that_is_no_socket() -> None:
    reader, writer = os.pipe()
    try:
        assert os_sockets.socket_cookie(reader) == b""
        os.write(writer, b"still open")
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.skipif(not os_sockets.can_count(), reason="only Linux tells")
def test_our_connection_among_strangers(tcp: tuple[socket.socket, socket.socket]) -> None:
    one, other = tcp
    connections = Connections(secure=True, listening=True)
    with one, other:
        assert connections.ours() is None
        for end in tcp:
            assert connections.note(struct.pack("=HI", Event.ACCEPTED, end.fileno())) == (32, end.fileno())
        assert connections.ours() is None, "two, and none was sent anything"
        one.sendall(bytes(connections.preamble_bytes[0] - 1))
        assert connections.ours() is None
        one.sendall(b"x")
        assert connections.ours() == one.fileno()
        connections.note(struct.pack("=HI", Event.DISCONNECTED, one.fileno()))
        assert (len(connections), connections.ours()) == (1, other.fileno())


@pytest.mark.parametrize(
    ("size", "secure", "expected"),
    [(0, False, 2), (255, False, 257), (256, False, 265), (0, True, 35), (222, True, 257), (223, True, 265)],
)
def test_message_bytes(size: int, secure: bool, expected: int) -> None:
    assert zmtp.message_bytes([size], secure) == expected
    assert zmtp.message_bytes([size] * 3, secure) == 3 * expected


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:5555", "tcp://*:*", "tcp://[::1]:1", "tcp://host.example:65535"]
)
def test_endpoints(endpoint: str) -> None:
    zmtp.require_endpoint(endpoint)


@pytest.mark.parametrize(
    "endpoint", ["", "tcp://", "tcp://:", "tcp://h:", "tcp://h:65536", "tcp://h:-1", "tcp://a b:1"]
)
def test_no_endpoints(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="tcp://host:port"):
        zmtp.require_endpoint(endpoint)
