"""The production channel: 0MQ DEALER to DEALER over TCP, encrypted and authenticated with CURVE.

The only file that imports zmq. One socket has one connection to one peer for one session, never a second:

* the listening end lets one authenticated peer in and turns everybody else away for as long as it lives, so
  that nobody can be fair-queued in beside it (a party with two peers listens on two ports);
* the connecting end tries with a fresh socket each time until it is in; a connection that is lost afterwards
  stays lost, and the next `recv` says so.

No heartbeats are sent, so the bytes on the wire are exactly those that `wire_bytes` and `preamble_bytes`
announce. A peer that dies closes its connection and is noticed at once. A peer whose machine or network
vanishes without a word is noticed by `recv`'s deadline, or by the kernel's keep-alive probes (about a minute;
they carry no payload), whichever comes first.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Generator, Sequence

import zmq

from parties import zmtp
from parties.channel import Channel
from parties.connections import Connections, Event
from parties.doorkeeper import GRANT_S, DoorKeeper
from parties.errors import ConfigError, HandshakeFailed, PeerClosed, PeerTimeout, RangeError
from parties.keys import KeyPair, check_key, require_keys
from parties.wire import Buffer

CONNECT_TIMEOUT_S = 30.0
RECV_TIMEOUT_S = 60.0
MAX_PART_BYTES = 1 << 30
LINGER_S = 5.0

_RETRY_S = 0.05  # pause between attempts to connect
_ATTEMPT_S = 3.0  # until an attempt that got no answer at all is repeated
_REFUSALS_S = 1.0  # a listener between two sessions refuses for a moment; one that still does means it
_LOOK_S = 1.0  # between looks at the clock while a listener waits
# Long after every deadline. Switching reconnection off (-1) would throw away what arrived before a loss.
_NEVER_MS = 24 * 3600 * 1000
_COPIED_BYTES = 4096  # received parts up to here are copied, longer ones are views

_Socket = zmq.Socket[bytes]


class TcpChannel(Channel):
    """One end of a connection; made by `Listener.accept` or `connect`.

    Use it from one thread at a time. What the peer sends ahead waits in this process's memory.

    Attributes:
        peer_key: the peer's authenticated public key in Z85; None on an unencrypted connection.
        secure: whether the connection is encrypted and authenticated.
        recv_timeout_s: how long `recv` waits; may be changed at any time.
    """

    def __init__(self, wire: _Wire, peer_key: str | None, recv_timeout_s: float) -> None:
        self._wire: _Wire | None = wire
        self._connection = wire.established()
        self._lost = not wire.connections
        self.peer_key, self.secure, self.recv_timeout_s = peer_key, wire.secure, recv_timeout_s

    def send(self, parts: Sequence[Buffer]) -> None:
        """Queues a message of at least one part; it is copied. See `Channel.send`.

        Raises:
            RangeError: a part is longer than the channel carries; nothing was sent.
        """
        assert parts, "a message has at least one part"
        wire = self._open()
        with _translated("send"):
            self._look(wire)
        if self._lost:
            raise PeerClosed("the connection to the peer is lost")
        longest, limit = max(map(len, parts)), wire.max_part_bytes
        if longest > limit:
            raise RangeError(f"a part of {longest} bytes; this channel carries at most {limit}")
        try:
            with _translated("send"):
                wire.socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.Again:  # there is no high-water mark, so only a missing connection stops a send
            raise PeerClosed("the connection to the peer is lost") from None

    def recv(self) -> list[Buffer]:
        """The next message; long parts are views of 0MQ's own buffers. See `Channel.recv`."""
        wire = self._open()
        deadline: float | None = None
        while True:
            lost = self._lost  # looked at first: what arrived before the loss is still delivered
            with contextlib.suppress(zmq.Again), _translated("recv"):
                return _receive(wire.socket)
            if lost:
                raise PeerClosed("the peer ended the connection, died, or sent a part over the limit")
            now = time.monotonic()
            deadline = now + self.recv_timeout_s if deadline is None else deadline
            if now >= deadline:
                raise PeerTimeout(f"nothing received within {self.recv_timeout_s:g} s")
            with _translated("recv"):
                wire.poller.poll(_milliseconds(deadline - now))
                self._look(wire)

    def close(self) -> None:
        """Sends what is queued, for at most `LINGER_S` seconds, then ends the connection; safe to repeat."""
        if self._wire is not None:
            self._look(self._wire)
            wire, self._wire = self._wire, None
            wire.close(0.0 if self._lost else LINGER_S)

    def wire_bytes(self, parts: Sequence[Buffer]) -> int:
        """Exact TCP payload of a message: framing, and encryption's overhead, of each part."""
        return zmtp.message_bytes(map(len, parts), self.secure)

    def preamble_bytes(self) -> tuple[int, int]:
        """Exact TCP payload (sent, received) of greeting and CURVE handshake, before the first message."""
        return self._open().connections.preamble_bytes

    def kernel_bytes(self) -> tuple[int, int] | None:
        """TCP payload (sent, received) by the kernel's own count, retransmissions left out.

        What is still queued in this process is not yet sent: ask after the peer has answered. None where the
        kernel does not tell (not Linux) or the connection has ended.
        """
        if self._wire is None or self._connection is None:
            return None
        return self._wire.connections.kernel_bytes(self._connection)

    def _open(self) -> _Wire:
        if self._wire is None:
            raise PeerClosed("this end of the connection is closed")
        return self._wire

    def _look(self, wire: _Wire) -> None:
        """Notices the loss of our connection, and turns away who knocks."""
        for event, value in wire.events(0.0):
            # Where two connections could not be told apart, the loss of either counts.
            if event == Event.DISCONNECTED and self._connection in (value, None):
                self._lost = True
        if wire.doorkeeper is not None:
            wire.doorkeeper.answer()


class Listener:
    """A bound endpoint that will let exactly one authenticated peer in.

    Bind first, tell others `endpoint`, then `accept` once. The port is taken until the channel is closed; for
    the next session make the next Listener then.

    Args:
        endpoint: `tcp://host:port`; `*` as port takes a free one.
        keys: this party's pair; None only for unencrypted operation.
        peers: public keys (Z85) that may connect.
        allow_insecure: permit operation without encryption, which also lets anybody in.
        max_part_bytes: a peer that sends a longer part is disconnected before memory is taken for it.

    Raises:
        ConfigError: a malformed or busy endpoint, or a malformed key.
        InsecureRefused: no keys, and not explicitly allowed.
    """

    def __init__(
        self,
        endpoint: str,
        keys: KeyPair | None,
        peers: Collection[str],
        *,
        allow_insecure: bool = False,
        max_part_bytes: int = MAX_PART_BYTES,
    ) -> None:
        require_keys(keys, allow_insecure)
        zmtp.require_endpoint(endpoint)
        allowed = frozenset(check_key(peer, "a peer's public key") for peer in peers)
        if keys is not None and not allowed:
            raise ConfigError("nobody may connect: the list of peers' public keys is empty")
        self._wire = _Wire(endpoint, keys, max_part_bytes, listening=True)
        try:
            with _translated(f"listen at {endpoint}"):
                self._doorkeeper = self._wire.guard(allowed if self._wire.secure else None)
                self._wire.socket.bind(endpoint)
                self.endpoint = self._wire.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        except BaseException:
            self.close()
            raise

    def accept(
        self, timeout_s: float = CONNECT_TIMEOUT_S, recv_timeout_s: float = RECV_TIMEOUT_S
    ) -> TcpChannel:
        """Waits for the first peer with an allowed key.

        Args:
            timeout_s: how long to wait for a peer.
            recv_timeout_s: the channel's own deadline.

        Raises:
            PeerTimeout: nobody with an allowed key came; says who was turned away.
            HandshakeFailed: the peer left in the middle of the handshake.
        """
        wire, doorkeeper = self._wire, self._doorkeeper
        deadline = time.monotonic() + timeout_s
        try:
            with _translated("accept"):
                while not self._peer_is_in():
                    now = time.monotonic()
                    if doorkeeper.peer_left(len(wire.connections)):
                        raise HandshakeFailed("the peer left in the middle of the handshake")
                    if now >= deadline:
                        refused = f"; turned away: {doorkeeper.refused}" if doorkeeper.refused else ""
                        raise PeerTimeout(f"no peer at {self.endpoint} within {timeout_s:g} s{refused}")
                    wire.poller.poll(_milliseconds(min(deadline - now, _LOOK_S)))
                    doorkeeper.answer()
        except BaseException:
            self.close()
            raise
        return TcpChannel(wire, doorkeeper.granted_key, recv_timeout_s)

    def close(self) -> None:
        """Stops listening; for a listener whose `accept` was never called. Safe to repeat."""
        self._wire.close(0.0)

    def _peer_is_in(self) -> bool:
        arrived = False
        for event, _value in self._wire.events(0.0):
            arrived = arrived or event == Event.HANDSHAKE_SUCCEEDED
            if event == Event.HANDSHAKE_FAILED_PROTOCOL:
                self._doorkeeper.refused = "one without CURVE, or with another server key than ours"
        return arrived


def connect(
    endpoint: str,
    keys: KeyPair | None,
    peer: str | None,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    recv_timeout_s: float = RECV_TIMEOUT_S,
    allow_insecure: bool = False,
    max_part_bytes: int = MAX_PART_BYTES,
) -> TcpChannel:
    """Connects to a listening peer, trying again until the deadline while nobody listens there.

    Args:
        endpoint: `tcp://host:port`.
        keys: this party's pair; None only for unencrypted operation.
        peer: the listening party's public key (Z85); anybody else's endpoint is refused.
        connect_timeout_s: how long to try.
        recv_timeout_s: the channel's own deadline.
        allow_insecure, max_part_bytes: as for `Listener`.

    Raises:
        PeerTimeout: nobody answered before the deadline.
        HandshakeFailed: somebody answered and turned us away, or was not who we expect.
        ConfigError: a malformed endpoint or key.
        InsecureRefused: no keys, and not explicitly allowed.
    """
    require_keys(keys, allow_insecure)
    zmtp.require_endpoint(endpoint)
    peer_key = None if keys is None else check_key(peer or "", "the listening party's public key")
    give_up = deadline = time.monotonic() + connect_timeout_s
    failure: PeerTimeout | HandshakeFailed | None = None
    while True:
        wire = _Wire(endpoint, keys, max_part_bytes, listening=False)
        with contextlib.ExitStack() as unless_in:
            unless_in.callback(wire.close, 0.0)
            latest = _attempt(wire, endpoint, peer_key, deadline)
            if latest is None:
                unless_in.pop_all()
                return TcpChannel(wire, peer_key, recv_timeout_s)
        now = time.monotonic()
        if failure is None or now < deadline:  # an attempt cut short tells less than the one before
            failure = latest
        give_up = min(give_up, now + _REFUSALS_S) if isinstance(failure, HandshakeFailed) else deadline
        if now + _RETRY_S >= give_up:
            raise failure
        time.sleep(_RETRY_S)


def _attempt(
    wire: _Wire, endpoint: str, peer_key: str | None, deadline: float
) -> PeerTimeout | HandshakeFailed | None:
    """Tries once to connect; None where it worked, else why it did not but may next time."""
    with _translated(f"connect to {endpoint}"):
        if peer_key is not None:
            wire.socket.setsockopt(zmq.CURVE_SERVERKEY, peer_key.encode())
        wire.socket.connect(endpoint)
    answer_by = time.monotonic() + _ATTEMPT_S
    while True:
        remaining = (deadline if wire.connections else min(deadline, answer_by)) - time.monotonic()
        if remaining <= 0:
            what = "a connection, but no end of the handshake" if wire.connections else "no answer"
            return PeerTimeout(f"{what} at {endpoint}")
        for event, _value in wire.events(remaining):
            if event == Event.HANDSHAKE_SUCCEEDED:
                return None
            if event == Event.HANDSHAKE_FAILED_AUTH:
                raise HandshakeFailed(f"{endpoint} refused us: our public key is not on its list")
            if event == Event.CLOSED:
                return PeerTimeout(f"nobody listens at {endpoint}")
            if event == Event.DISCONNECTED:
                return HandshakeFailed(
                    f"{endpoint} ended the handshake: most likely its public key is not the one we were "
                    "given, or it is busy with another session, or only one side uses encryption"
                )


class _Wire:
    """A socket, its monitor and the context they live in."""

    def __init__(self, endpoint: str, keys: KeyPair | None, max_part_bytes: int, *, listening: bool) -> None:
        self.secure, self.max_part_bytes = keys is not None, max_part_bytes
        self.context = zmq.Context()
        self.connections = Connections(secure=self.secure, listening=listening)
        self.doorkeeper: DoorKeeper | None = None
        self.zap: _Socket = self.context.socket(zmq.REP)
        self.socket: _Socket = self.context.socket(zmq.DEALER)
        options = {
            zmq.SNDHWM: 0,
            zmq.RCVHWM: 0,
            zmq.LINGER: 0,
            zmq.MAXMSGSIZE: max_part_bytes + (zmtp.CURVE_MESSAGE_BYTES if self.secure else 0),
            zmq.RECONNECT_IVL: _NEVER_MS,
            zmq.IPV6: int("[" in endpoint),
            zmq.TCP_KEEPALIVE: 1,
            zmq.TCP_KEEPALIVE_IDLE: 30,
            zmq.TCP_KEEPALIVE_INTVL: 10,
            zmq.TCP_KEEPALIVE_CNT: 3,
        }
        for option, value in options.items():
            self.socket.setsockopt(option, value)
        if keys is not None:
            self.socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
            if listening:
                self.socket.setsockopt(zmq.CURVE_SERVER, 1)
        self.monitor: _Socket = self.socket.get_monitor_socket()
        self.poller = zmq.Poller()
        self.poller.register(self.socket, zmq.POLLIN)
        self.poller.register(self.monitor, zmq.POLLIN)

    def guard(self, allowed: frozenset[str] | None) -> DoorKeeper:
        """Lets nobody in without the door-keeper's word."""
        self.socket.setsockopt(zmq.ZAP_DOMAIN, b"mpcinfer")
        self.socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self.zap.bind("inproc://zeromq.zap.01")
        self.poller.register(self.zap, zmq.POLLIN)
        self.doorkeeper = DoorKeeper(self.zap, allowed)
        return self.doorkeeper

    def events(self, timeout_s: float) -> list[tuple[int, int]]:
        """What happened to the socket since the last call, waiting for the first at most `timeout_s`."""
        happened: list[tuple[int, int]] = []
        if timeout_s > 0:
            self.monitor.poll(_milliseconds(timeout_s))
        while int(self.monitor.getsockopt(zmq.EVENTS)) & int(zmq.POLLIN):
            happened.append(self.connections.note(self.monitor.recv_multipart()[0]))
        return happened

    def established(self) -> int | None:
        """The descriptor of the connection that is in; None where it cannot be told from a stranger's."""
        self.socket.poll(_milliseconds(GRANT_S), zmq.POLLOUT)  # until 0MQ has handed it to the socket
        deadline = time.monotonic() + GRANT_S
        while (ours := self.connections.ours()) is None and self.connections and time.monotonic() < deadline:
            time.sleep(_RETRY_S)
            self.events(0.0)
        return ours

    def close(self, linger_s: float) -> None:
        """Closes everything; waits at most `linger_s` for queued messages to leave. Safe to repeat."""
        if not self.socket.closed:
            self.socket.disable_monitor()
            self.monitor.close(0)
            self.zap.close(0)
            self.socket.close(_milliseconds(linger_s))
            self.context.term()


def _receive(socket: _Socket) -> list[Buffer]:
    """A whole message; raises zmq.Again where there is none."""
    frames = socket.recv_multipart(zmq.DONTWAIT, copy=False)
    return [frame.bytes if len(frame) <= _COPIED_BYTES else frame.buffer for frame in frames]


def _milliseconds(seconds: float) -> int:
    """Rounded up, so that waiting that long never ends just before a deadline."""
    return int(-(-1000 * seconds // 1))


@contextlib.contextmanager
def _translated(what: str) -> Generator[None]:
    """Turns 0MQ's errors into ours; `zmq.Again`, which is no error, passes."""
    try:
        yield
    except zmq.Again:
        raise
    except zmq.ZMQError as error:
        if error.errno in (zmq.ENOTSOCK, zmq.ETERM):
            raise PeerClosed(f"cannot {what}: this end is closed") from None
        raise ConfigError(f"cannot {what}: {error.strerror}") from error
