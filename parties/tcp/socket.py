"""A 0MQ socket for one connection, with the context it lives in and the thread that watches it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator

import zmq

from parties.errors import ConfigError, MalformedFrame, PeerClosed
from parties.keys import KeyPair
from parties.tcp import zmtp
from parties.tcp.authenticator import GRANT_S, ZapAuthenticator
from parties.tcp.chunks import CHUNK_BYTES
from parties.tcp.connections import Connections
from parties.tcp.watcher import ConnectionWatcher
from parties.wire import Buffer

HANDSHAKE_S = 15.0
QUEUED_CHUNKS = 128  # received and not yet read: 32 MiB; what comes then waits at the sender
RETRY_S = 0.05  # pause between attempts
HANDOVER_S = 0.05  # from the news of a loss until what came before it can be read

# Long after every deadline. Switching reconnection off (-1) would throw away what arrived before a loss.
_NEVER_MS = 24 * 3600 * 1000

Socket = zmq.Socket[bytes]


def harden(socket: Socket, keys: KeyPair | None, *, queued: int, longest: int) -> None:
    """Sets what bounds a socket's memory and time, and its keys.

    Args:
        keys: this party's; None for no encryption.
        queued: messages that were received and not read yet.
        longest: bytes of a message.
    """
    options = {
        zmq.SNDHWM: 0,
        zmq.RCVHWM: queued,
        zmq.LINGER: 0,
        zmq.MAXMSGSIZE: longest + (zmtp.CURVE_MESSAGE_BYTES if keys is not None else 0),
        zmq.HANDSHAKE_IVL: milliseconds(HANDSHAKE_S),
        zmq.RECONNECT_IVL: _NEVER_MS,
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: 30,
        zmq.TCP_KEEPALIVE_INTVL: 10,
        zmq.TCP_KEEPALIVE_CNT: 3,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    if keys is not None:
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())


def ask_before_accepting(context: zmq.Context[Socket], socket: Socket, *, secure: bool) -> Socket:
    """Makes a listening socket ask before it accepts a connection; where the questions come in."""
    if secure:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.ZAP_DOMAIN, b"mpcinfer")
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    questions: Socket = context.socket(zmq.REP)
    questions.bind("inproc://zeromq.zap.01")
    return questions


class Wire:
    """A socket, its watcher and the context they live in.

    Args:
        keys: this party's; None for no encryption.
        allowed: at the listening end, whom the watcher lets in; None at the connecting end.
    """

    def __init__(self, keys: KeyPair | None, *, listening: bool, allowed: frozenset[str]) -> None:
        self.secure = keys is not None
        self.context = zmq.Context()
        self.connections = Connections(secure=self.secure, listening=listening)
        self.socket: Socket = self.context.socket(zmq.DEALER)
        harden(self.socket, keys, queued=QUEUED_CHUNKS, longest=CHUNK_BYTES)
        authenticator = self._guard(allowed) if listening else None
        self.watcher = ConnectionWatcher(
            self.context, self.socket.get_monitor_socket(), self.connections, authenticator
        )
        self.poller = zmq.Poller()
        self.poller.register(self.socket, zmq.POLLIN)
        self.poller.register(self.watcher.news, zmq.POLLIN)

    def _guard(self, allowed: frozenset[str]) -> ZapAuthenticator:
        """Makes the socket ask the authenticator before it accepts a connection."""
        zap = ask_before_accepting(self.context, self.socket, secure=self.secure)
        return ZapAuthenticator(zap, allowed if self.secure else None)

    def use_ipv6_for(self, endpoint: str) -> None:
        """Where the endpoint asks for it."""
        self.socket.setsockopt(zmq.IPV6, int("[" in endpoint))

    def bind(self, endpoint: str) -> str:
        """Listens; the endpoint with the port that was taken."""
        with translated(f"listen at {endpoint}"):
            self.use_ipv6_for(endpoint)
            self.socket.bind(endpoint)
            return self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def connect(self, endpoint: str, peer_key: str | None) -> None:
        """Begins to connect."""
        with translated(f"connect to {endpoint}"):
            self.use_ipv6_for(endpoint)
            if peer_key is not None:
                self.socket.setsockopt(zmq.CURVE_SERVERKEY, peer_key.encode())
            self.socket.connect(endpoint)

    def wait(self, timeout_s: float) -> None:
        """Until a chunk came or the watcher has news, at most so long."""
        self.poller.poll(milliseconds(timeout_s))
        self.watcher.hear()

    def late(self) -> bool:
        """Whether a chunk comes after the news of the loss: 0MQ tells of that before it hands over."""
        return bool(self.socket.poll(milliseconds(HANDOVER_S), zmq.POLLIN))

    def send(self, chunk: Buffer) -> None:
        """Queues a chunk.

        Raises:
            PeerClosed: there is no connection.
        """
        try:
            with translated("send"):
                self.socket.send(chunk, zmq.DONTWAIT)
        except zmq.Again:  # there is no high-water mark, so only a missing connection stops a send
            raise PeerClosed("the connection to the peer is lost") from None

    def received(self) -> Buffer | None:
        """The next chunk, a view of 0MQ's own buffer; None where none has come.

        Raises:
            MalformedFrame: a message of several frames, in which chunks never come.
        """
        try:
            with translated("recv"):
                frame = self.socket.recv(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return None
        if frame.more:
            raise MalformedFrame("a message of several frames")
        self.watcher.delivered += zmtp.message_bytes([len(frame)], self.secure)
        return frame.buffer

    def established(self) -> int | None:
        """The descriptor of the connection that is in; None where it cannot be told from a stranger's."""
        deadline = time.monotonic() + GRANT_S
        while not self.watcher.lost and time.monotonic() < deadline:
            if self.socket.poll(milliseconds(RETRY_S), zmq.POLLOUT):  # 0MQ has handed it to the socket
                break
        while self.watcher.ours is None and not self.watcher.lost and time.monotonic() < deadline:
            self.wait(RETRY_S)
        return self.watcher.ours

    def close(self, linger_s: float) -> None:
        """Closes everything; waits at most `linger_s` for queued messages to leave. Safe to repeat."""
        if not self.socket.closed:
            self.socket.disable_monitor()
            self.watcher.close()
            self.socket.close(milliseconds(linger_s))
            self.context.term()


def milliseconds(seconds: float) -> int:
    """Rounded up, so that waiting that long never ends just before a deadline."""
    return int(-(-1000 * seconds // 1))


@contextlib.contextmanager
def translated(what: str) -> Generator[None]:
    """Turns 0MQ's errors into ours; `zmq.Again`, which is no error, passes."""
    try:
        yield
    except zmq.Again:
        raise
    except zmq.ZMQError as error:
        if error.errno in (zmq.ENOTSOCK, zmq.ETERM):
            raise PeerClosed(f"cannot {what}: this end is closed") from None
        raise ConfigError(f"cannot {what}: {error.strerror}") from error
