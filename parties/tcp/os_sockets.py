"""The kernel's own count of what went through a TCP connection, to check the bill against."""

from __future__ import annotations

import contextlib
import os
import socket as sockets
import struct
from collections.abc import Generator

_SO_COOKIE = 57
# Offsets in Linux's struct tcp_info; fields are only ever appended to it.
_BYTES_RECEIVED, _BYTES_SENT, _BYTES_RETRANSMITTED = 128, 200, 208
_TCP_INFO_BYTES = 216


def can_count() -> bool:
    """Whether this system tells (Linux does, since 4.19)."""
    return hasattr(sockets, "TCP_INFO")


def socket_cookie(descriptor: int) -> bytes:
    """The kernel's own number for the socket behind a descriptor, never reused; empty where there is none."""
    with contextlib.suppress(OSError), _borrowed(descriptor) as socket:
        return socket.getsockopt(sockets.SOL_SOCKET, _SO_COOKIE, 8)
    return b""


def tcp_bytes(descriptor: int, cookie: bytes) -> tuple[int, int] | None:
    """TCP payload (sent, received), retransmissions left out.

    None where the kernel does not tell, or where the descriptor is not, or no longer, the socket that has
    this cookie.
    """
    if not cookie or not can_count() or socket_cookie(descriptor) != cookie:
        return None
    with contextlib.suppress(OSError), _borrowed(descriptor) as socket:
        info = socket.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _TCP_INFO_BYTES)
        if len(info) >= _TCP_INFO_BYTES:
            sent = _count(info, _BYTES_SENT) - _count(info, _BYTES_RETRANSMITTED)
            return sent, _count(info, _BYTES_RECEIVED)
    return None


def shut_down(descriptor: int, cookie: bytes) -> None:
    """Ends a connection from both sides, where the descriptor is still the socket that has this cookie.

    Looked at and ended by a descriptor of its own: the other's owner may close it, and take it again for
    another connection, in between.
    """
    with contextlib.suppress(OSError):
        own = os.dup(descriptor)
        try:
            if cookie and socket_cookie(own) == cookie:
                with _borrowed(own) as socket:
                    socket.shutdown(sockets.SHUT_RDWR)
        finally:
            os.close(own)


def _count(info: bytes, offset: int) -> int:
    return struct.unpack_from("=Q", info, offset)[0]


@contextlib.contextmanager
def _borrowed(descriptor: int) -> Generator[sockets.socket]:
    """A descriptor as a socket object for as long as the block runs; it stays its owner's."""
    socket = sockets.socket(fileno=descriptor)
    try:
        yield socket
    finally:
        socket.detach()
