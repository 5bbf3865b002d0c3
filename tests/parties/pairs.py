"""Connected ends of every kind of channel."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from parties.channel import Channel
from parties.keys import KeyPair
from parties.local import local_pair
from parties.shaped import Shaped
from parties.tcp import Listener, TcpChannel, connect
from parties.trace import Trace
from tests.deadlines import HANG_S

MakePair = Callable[[float], tuple[Channel, Channel]]
LISTENER, CONNECTOR = KeyPair.generate(), KeyPair.generate()


def tcp_pair(timeout_s: float = HANG_S, *, secure: bool = True) -> tuple[TcpChannel, TcpChannel]:
    """A listening and a connecting end on loopback."""
    listener = Listener(
        "tcp://127.0.0.1:*",
        LISTENER if secure else None,
        [CONNECTOR.public] if secure else [],
        allow_insecure=not secure,
    )
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(
            connect,
            listener.endpoint,
            CONNECTOR if secure else None,
            LISTENER.public if secure else None,
            connect_timeout_s=HANG_S,
            recv_timeout_s=timeout_s,
            allow_insecure=not secure,
        )
        return listener.accept(HANG_S, timeout_s), other.result()


def _local(timeout_s: float) -> tuple[Channel, Channel]:
    return local_pair(timeout_s)


def _tcp(timeout_s: float) -> tuple[Channel, Channel]:
    return tcp_pair(timeout_s)


def _tcp_swapped(timeout_s: float) -> tuple[Channel, Channel]:
    return tcp_pair(timeout_s)[::-1]


def _tcp_insecure(timeout_s: float) -> tuple[Channel, Channel]:
    return tcp_pair(timeout_s, secure=False)


def _trace(timeout_s: float) -> tuple[Channel, Channel]:
    first, second = local_pair(timeout_s)
    return Trace(first), Trace(second, keep_cache=True)


def _shaped(timeout_s: float) -> tuple[Channel, Channel]:
    first, second = local_pair(timeout_s)
    return Shaped(first, latency_s=0.001), Shaped(second, latency_s=0.002, bytes_per_s=1e9)


def _shaped_tcp(timeout_s: float) -> tuple[Channel, Channel]:
    first, second = tcp_pair(timeout_s)
    return Trace(Shaped(first, latency_s=0.001)), Shaped(Trace(second), latency_s=0.0)


PAIRS: dict[str, MakePair] = {
    "local": _local,
    "tcp": _tcp,
    "tcp, the connecting end first": _tcp_swapped,
    "tcp, insecure": _tcp_insecure,
    "trace over local": _trace,
    "shaped over local": _shaped,
    "shaped and traced tcp": _shaped_tcp,
}


def free_endpoint() -> str:
    """An endpoint of the loopback interface that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"
