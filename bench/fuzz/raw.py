"""What somebody without a key can write to a port: greetings, beginnings of a handshake, and noise."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from functools import lru_cache
from random import Random

from parties.errors import MpcInferError
from parties.keys import KeyPair
from parties.tcp import connect

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
_NAMES = (b"HELLO", b"INITIATE", b"READY", b"ERROR", b"MESSAGE", b"SUBSCRIBE", b"PING", b"")
_TIMEOUT_S = 5.0
_NOBODY = KeyPair.generate()


@lru_cache
def hello(keys: KeyPair, server: str) -> bytes:
    """The HELLO of a real connecting end.

    Args:
        server: the public key of whom it is for.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = f"tcp://127.0.0.1:{listening.getsockname()[1]}"

        def reach() -> None:
            with contextlib.suppress(MpcInferError):
                connect(endpoint, keys, server, connect_timeout_s=2.0).close()

        thread = threading.Thread(target=reach, daemon=True)
        thread.start()
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(_TIMEOUT_S)
            connection.sendall(GREETING[:32] + b"\x01" + GREETING[33:])
            said = b""
            while len(said) < len(GREETING) + 202:
                said += connection.recv(1000)
        listening.close()
        thread.join()
        return said[len(GREETING) :]


def bad_bytes(draw: Random) -> bytes:
    """A greeting and a command, with something wrong in one of them, or in both."""
    greeting, command = bytearray(GREETING), bytearray(hello(_NOBODY, _NOBODY.public))
    how = draw.randrange(9)
    if how == 0:
        greeting[draw.randrange(64)] ^= 1 << draw.randrange(8)
    elif how == 1:
        command[draw.randrange(len(command))] ^= 1 << draw.randrange(8)
    elif how == 2:
        return bytes(greeting[: draw.randrange(64)])
    elif how == 3:
        return bytes(greeting + command[: draw.randrange(len(command))])
    elif how == 4:
        return draw.randbytes(draw.choice((1, 10, 64, 300, 5000)))
    elif how == 5:
        return bytes(greeting) + b"\x06" + draw.choice((1 << 62, 1 << 63, (1 << 64) - 1)).to_bytes(8, "big")
    elif how == 6:
        name = draw.choice(_NAMES)
        return bytes(greeting) + _command(name, draw.randbytes(draw.choice((0, 1, 100, 250, 300))))
    elif how == 7:
        return bytes(greeting + command) + _command(
            b"INITIATE", draw.randbytes(draw.choice((0, 9, 257, 900)))
        )
    else:
        mechanism = draw.choice((b"NULL", b"PLAIN", b"GSSAPI", b"\xff" * 20)).ljust(20, b"\0")
        greeting[12:32] = mechanism
    return bytes(greeting + command)


def _command(name: bytes, body: bytes) -> bytes:
    data = bytes([len(name)]) + name + body
    return (
        b"\x04" + bytes([len(data)]) if len(data) < 256 else b"\x06" + len(data).to_bytes(8, "big")
    ) + data


def write(endpoint: str, data: Sequence[bytes]) -> int:
    """Writes each to a connection of its own, all open at the same time; how many connections there were."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    made = 0
    with contextlib.ExitStack() as stack:
        sockets = list[socket.socket]()
        for each in data:
            with contextlib.suppress(OSError):
                connection = stack.enter_context(socket.create_connection((host, int(port)), _TIMEOUT_S))
                made += 1
                connection.sendall(each)
                sockets.append(connection)
        for connection in sockets:
            with contextlib.suppress(OSError):
                connection.setblocking(False)
                connection.recv(1000)
    return made
