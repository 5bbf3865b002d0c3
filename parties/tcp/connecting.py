"""The end that goes to its peer."""

from __future__ import annotations

import contextlib
import time

from parties.errors import HandshakeFailed, PeerTimeout
from parties.keys import KeyPair, check_key, require_keys
from parties.tcp import zmtp
from parties.tcp.channel import CONNECT_TIMEOUT_S, RECV_TIMEOUT_S, TcpChannel
from parties.tcp.connections import Event
from parties.tcp.socket import RETRY_S, Wire

_ATTEMPT_S = 3.0  # until an attempt that got no answer at all is repeated
_REFUSALS_S = 1.0  # a listener between two sessions refuses for a moment; one that still does means it


def connect(
    endpoint: str,
    keys: KeyPair | None,
    peer: str | None,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    recv_timeout_s: float = RECV_TIMEOUT_S,
    allow_insecure: bool = False,
) -> TcpChannel:
    """Connects to a listening peer, trying again until the deadline while nobody listens there.

    Args:
        endpoint: `tcp://host:port`.
        keys: this party's pair; None only for unencrypted operation.
        peer: the listening party's public key (Z85); anybody else's endpoint is refused.
        connect_timeout_s: how long to try.
        recv_timeout_s: the channel's own deadline.
        allow_insecure: as for `Listener`.

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
        wire = Wire(keys, listening=False, allowed=frozenset())
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
        if now + RETRY_S >= give_up:
            raise failure
        time.sleep(RETRY_S)


def _attempt(
    wire: Wire, endpoint: str, peer_key: str | None, deadline: float
) -> PeerTimeout | HandshakeFailed | None:
    """Tries once to connect; None where it worked, else why it did not but may next time."""
    wire.connect(endpoint, peer_key)
    watcher, answer_by = wire.watcher, time.monotonic() + _ATTEMPT_S
    while not watcher.succeeded:
        if watcher.failed is not None:
            return _refusal(watcher.failed, endpoint)
        remaining = (deadline if wire.connections else min(deadline, answer_by)) - time.monotonic()
        if remaining <= 0:
            what = "a connection, but no end of the handshake" if wire.connections else "no answer"
            return PeerTimeout(f"{what} at {endpoint}")
        wire.wait(remaining)
    return None


def _refusal(event: Event, endpoint: str) -> PeerTimeout | HandshakeFailed:
    """Why an attempt failed; raises HandshakeFailed where another one would not help."""
    if event == Event.HANDSHAKE_FAILED_AUTH:
        raise HandshakeFailed(f"{endpoint} refused us: our public key is not on its list")
    if event == Event.CLOSED:
        return PeerTimeout(f"nobody listens at {endpoint}")
    return HandshakeFailed(
        f"{endpoint} ended the handshake: most likely its public key is not the one we were "
        "given, or it is busy with another session, or only one side uses encryption"
    )
