"""Bytes that a process has received over TCP, as the kernel counts them (Linux, tcp(7), TCP_INFO)."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection

_RECEIVED_AT = 128
"""Offset of tcpi_bytes_received in the kernel's struct tcp_info, a 64-bit count of payload in order."""


def received(*, only: Collection[int] = (), without: Collection[int] = ()) -> dict[int, int]:
    """Payload bytes that each of this process's TCP connections has received, by the socket's inode.

    TLS, CURVE and framing are part of it; headers of TCP and IP are not.

    Args:
        only: count connections that have one of these ports at either end; all where empty.
        without: leave out those that have one of these.
    """
    counts: dict[int, int] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            inode = os.stat(f"/proc/self/fd/{name}").st_ino
            connection = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # no socket, or closed since
            continue
        with connection:
            ports = _ports(connection)
            if not ports or (only and not ports & set(only)) or ports & set(without):
                continue
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED_AT + 8)
            (counts[inode],) = struct.unpack_from("=Q", info, _RECEIVED_AT)
    return counts


def between(before: dict[int, int], after: dict[int, int]) -> int:
    """Bytes received between two counts.

    Raises:
        RuntimeError: a connection was closed in between, and its bytes with it.
    """
    lost = before.keys() - after.keys()
    if lost:
        raise RuntimeError(f"{len(lost)} connection(s) closed while bytes were counted")
    return sum(after.values()) - sum(before.values())


def _ports(connection: socket.socket) -> set[int]:
    """Of both ends; none for what is no TCP connection."""
    try:
        if connection.type != socket.SOCK_STREAM or connection.family not in (
            socket.AF_INET,
            socket.AF_INET6,
        ):
            return set()
        return {connection.getsockname()[1], connection.getpeername()[1]}
    except OSError:
        return set()
