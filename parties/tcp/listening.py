"""The end that waits for its peer."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from parties.errors import ConfigError, HandshakeFailed, PeerClosed, PeerTimeout
from parties.keys import KeyPair, check_key, require_keys
from parties.tcp import zmtp
from parties.tcp.channel import CONNECT_TIMEOUT_S, RECV_TIMEOUT_S, TcpChannel
from parties.tcp.socket import Wire

_LOOK_S = 1.0  # between looks at the clock while a listener waits


class Listener:
    """A bound endpoint that will let exactly one authenticated peer in.

    Bind first, tell others `endpoint`, then `accept` once. The port is taken until the channel is closed; for
    the next session make the next Listener then. Strangers are turned away from the first moment on; of those
    that neither speak nor leave, `MAX_WAITING` are kept, for `HANDSHAKE_S` seconds.

    Args:
        endpoint: `tcp://host:port`; `*` as port takes a free one.
        keys: this party's pair; None only for unencrypted operation.
        peers: public keys (Z85) that may connect.
        allow_insecure: permit operation without encryption, which also lets anybody in.

    Raises:
        ConfigError: a malformed or busy endpoint, or a malformed key.
        InsecureRefused: no keys, and not explicitly allowed.
    """

    def __init__(
        self, endpoint: str, keys: KeyPair | None, peers: Collection[str], *, allow_insecure: bool = False
    ) -> None:
        require_keys(keys, allow_insecure)
        zmtp.require_endpoint(endpoint)
        allowed = frozenset(check_key(peer, "a peer's public key") for peer in peers)
        if keys is not None and not allowed:
            raise ConfigError("nobody may connect: the list of peers' public keys is empty")
        self._wire = Wire(keys, listening=True, allowed=allowed)
        try:
            self.endpoint = self._wire.bind(endpoint)
        except BaseException:
            self.close()
            raise

    def accept(
        self,
        timeout_s: float = CONNECT_TIMEOUT_S,
        recv_timeout_s: float = RECV_TIMEOUT_S,
        *,
        as_long_as: Callable[[], bool] = lambda: True,
    ) -> TcpChannel:
        """Waits for the first peer with an allowed key. It may have left again: see `TcpChannel.lost`.

        Args:
            timeout_s: how long to wait for a peer.
            recv_timeout_s: the channel's own deadline.
            as_long_as: is asked now and then whether anybody still needs the peer.

        Raises:
            PeerClosed: nobody does any more.
            PeerTimeout: nobody with an allowed key came; says who was turned away.
            HandshakeFailed: the peer left in the middle of the handshake.
        """
        wire, watcher = self._wire, self._wire.watcher
        authenticator = watcher.authenticator
        assert authenticator is not None
        deadline = time.monotonic() + timeout_s
        try:
            while not watcher.succeeded:
                now = time.monotonic()
                if authenticator.peer_left(len(wire.connections)):
                    raise HandshakeFailed("the peer left in the middle of the handshake")
                if not as_long_as():
                    raise PeerClosed("whoever the peer was awaited for has left")
                if now >= deadline:
                    refused = f"; turned away: {authenticator.refused}" if authenticator.refused else ""
                    raise PeerTimeout(f"no peer at {self.endpoint} within {timeout_s:g} s{refused}")
                wire.wait(min(deadline - now, _LOOK_S))
        except BaseException:
            self.close()
            raise
        return TcpChannel(wire, authenticator.granted_key, recv_timeout_s)

    def close(self) -> None:
        """Stops listening; for a listener whose `accept` was never called. Safe to repeat."""
        self._wire.close(0.0)
