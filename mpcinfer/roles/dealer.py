"""The dealer: hands out correlated randomness to one server and one client, session after session."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator

from mpcinfer.roles.watch import Watch
from mpcinfer.sessions.addresses import Identity
from mpcinfer.sessions.session_config import DEAL_SESSION
from mpcinfer.suites.registry import SUITES
from mpcinfer.suites.suite import Document, Suite
from parties.admission import answer_here
from parties.channel import Channel
from parties.errors import HandshakeFailed, MpcInferError, PeerMismatch, PeerTimeout
from parties.handshake import MOST_HELLO_BYTES, Hello, shake_hands
from parties.link import Link
from parties.meter import Meter
from parties.randomness import SystemRandom
from parties.shaped import Shape, over
from parties.tcp import Listener, TcpChannel

_WAIT_S = 3600.0
_SECOND_S = 30.0


def deal_sessions(
    *,
    listen_server: str,
    listen_client: str,
    server: Identity,
    client: Identity,
    timeout_s: float,
    once: bool,
    say: Callable[[str], None],
    shape: Shape | None = None,
    watch: Watch | None = None,
) -> None:
    """Deals until the process is ended, or one session with `once`.

    The server has an endpoint of its own and so has the client; each accepts one key.

    Args:
        listen_server, listen_client: `tcp://host:port`.
        server, client: the dealer's keys, with the key of who may connect there.
        timeout_s: longest silence of the server within a session.
        say: is told of progress, a line at a time.
        shape: both connections behave like slower ones, which the parties must have, too; to measure with.
        watch: is told of sessions that begin and end.

    Raises:
        ConfigError: an endpoint cannot be used.
        MpcInferError: with `once`, whatever ended the session.
    """
    watch = watch or Watch()
    for suite in SUITES.values():
        suite.load()
    for suite in SUITES.values():  # while parties are on their way
        threading.Thread(target=suite.warm_up_dealing, daemon=True).start()
    say(f"dealer: for servers at {listen_server}, for clients at {listen_client}")
    watch.listening()
    while True:
        try:
            dealt = _deal_once(listen_server, listen_client, server, client, timeout_s, shape, watch)
            if dealt is None:
                continue
            say(f"dealer: session over, {dealt}")
            watch.session_ended(None)
        except MpcInferError as error:
            watch.session_failed(error)
            if once:
                raise
            say(f"dealer: session failed: {type(error).__name__}: {error}")
        if once:
            return


def _deal_once(
    listen_server: str,
    listen_client: str,
    server: Identity,
    client: Identity,
    timeout_s: float,
    shape: Shape | None,
    watch: Watch,
) -> str | None:
    """One session, and a line about it; None when nobody came."""
    with (
        contextlib.closing(Listener(listen_server, server.keys, [server.peer])) as for_server,
        contextlib.closing(Listener(listen_client, client.keys, [client.peer])) as for_client,
    ):
        try:
            server_channel = for_server.accept(_WAIT_S, timeout_s)
        except PeerTimeout:
            return None
        watch.session_started()
        with (
            server_channel,
            _client_beside(server_channel, for_client, listen_client, client, timeout_s) as client_channel,
        ):
            return deal_over(over(server_channel, shape), over(client_channel, shape))


def deal_over(server: Channel, client: Channel, deal: Callable[[Link, Link], str] | None = None) -> str:
    """Serves one session over connected channels to its two parties; a line about it.

    Args:
        deal: instead of `deal_session`.

    Raises:
        HandshakeFailed: a party is of another version, or the two are not in one session.
        PeerError: as `deal_session`.
    """
    to_server, to_client = Link(server, Meter(), None), Link(client, Meter(), None)
    for link in (to_server, to_client):
        answer_here(link, MOST_HELLO_BYTES)
    randomness = SystemRandom()
    hello = Hello(role="dealer", plan=None, model=None)
    theirs = shake_hands(to_server, hello, "server", randomness).peer
    other = shake_hands(to_client, hello, "client", randomness).peer
    if theirs.parent != other.parent:
        raise HandshakeFailed("server and client are not in the same session")
    return (deal or deal_session)(to_server, to_client)


@contextlib.contextmanager
def _client_beside(
    server: TcpChannel, first: Listener, listen: str, identity: Identity, timeout_s: float
) -> Generator[TcpChannel]:
    """The client that is there together with a server.

    Args:
        first: listens already; a client that came to it may have left again, for want of a server.
        listen: where to listen once more in that case.

    Raises:
        PeerTimeout: no client came.
        PeerClosed: the server left before.
    """
    with first.accept(_SECOND_S, timeout_s, as_long_as=lambda: not server.lost) as channel:
        if not channel.lost:
            yield channel
            return
    again = Listener(listen, identity.keys, [identity.peer])
    with again.accept(_SECOND_S, timeout_s, as_long_as=lambda: not server.lost) as channel:
        yield channel


def deal_session(server: Link, client: Link) -> str:
    """Serves one session, after the handshakes with both parties; a line about it.

    Raises:
        HandshakeFailed: the parties do not want the same.
        PeerMismatch: they want a suite that there is none of, or what that suite's dealer refuses.
        PeerClosed, PeerTimeout: a party went away or said nothing before the channel's deadline.
    """
    suite, wanted = wanted_session(server, client)
    return suite.deal(server, client, wanted)


def wanted_session(server: Link, client: Link) -> tuple[Suite, Document]:
    """What both parties want to be dealt for: a suite, and all that they said; raises as `deal_session`."""
    wanted, other = (link.recv_document(DEAL_SESSION) for link in (server, client))
    if wanted != other:
        differ = sorted(key for key in {*wanted, *other} if wanted.get(key) != other.get(key))
        raise HandshakeFailed(f"server and client want different sessions: {', '.join(differ)} differ")
    suite = SUITES.get(str(wanted.get("suite")))
    if suite is None:
        raise PeerMismatch(f"no suite {wanted.get('suite')!r}; there are {', '.join(SUITES)}")
    return suite, wanted
