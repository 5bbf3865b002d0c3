"""The engines by name: how a party opens a session on one, and how a dealer serves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from mpcinfer.roles import crypten_session, fss_connect, fss_ready
from mpcinfer.roles.fss_dealing import serve_fss
from mpcinfer.roles.fss_program import Program
from mpcinfer.roles.session import PrivateSession
from mpcinfer.roles.terms import DEAL_SESSION, Terms
from parties.errors import HandshakeFailed, PeerMismatch
from parties.link import Link
from protocols.additive.crypten.compat import import_crypten
from protocols.additive.dealer import serve_dealer
from protocols.plan import Plan

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine.

    Attributes:
        require: raises ConfigError where this machine lacks what it needs.
        ready: does what a party can do before it meets the others.
        rehearse: the same for a dealer.
        open: a party's session over a fresh link.
        deal: serves one session to server and client as the document says; a line about it.
    """

    require: Callable[[], object]
    ready: Callable[[Terms], Terms]
    rehearse: Callable[[], None]
    open: Callable[[Link, Terms], AbstractContextManager[PrivateSession]]
    deal: Callable[[Link, Link, Document], str]


def _deal_crypten(server: Link, client: Link, document: Document) -> str:
    dealt = serve_dealer(server, client)
    return f"{dealt.correlations:,} correlations, {dealt.bytes_to_server:,} bytes"


def _deal_fss(server: Link, client: Link, document: Document) -> str:
    runs, size = serve_fss(server, client, Program.from_document(document))
    return f"{runs:,} passes, {size:,} bytes"


ENGINES: dict[str, Engine] = {
    crypten_session.ENGINE: Engine(
        require=import_crypten,
        ready=lambda terms: terms,
        rehearse=lambda: None,
        open=crypten_session.crypten_session,
        deal=_deal_crypten,
    ),
    fss_connect.ENGINE: Engine(
        require=lambda: None,
        ready=fss_ready.ready,
        rehearse=fss_ready.rehearse_dealing,
        open=fss_connect.fss_session,
        deal=_deal_fss,
    ),
}


def engine_of(plan: Plan) -> Engine:
    """The engine of a plan."""
    return ENGINES[plan.suite]


def deal_session(server: Link, client: Link) -> str:
    """Serves one session, after the handshakes with both parties; a line about it.

    Raises:
        HandshakeFailed: the parties do not want the same.
        PeerMismatch: they want an engine that there is none of, or what that engine's dealer refuses.
        PeerClosed, PeerTimeout: a party went away or said nothing before the channel's deadline.
    """
    wanted, other = (link.recv_document(DEAL_SESSION) for link in (server, client))
    if wanted != other:
        differ = sorted(key for key in {*wanted, *other} if wanted.get(key) != other.get(key))
        raise HandshakeFailed(f"server and client want different sessions: {', '.join(differ)} differ")
    engine = ENGINES.get(str(wanted.get("engine")))
    if engine is None:
        raise PeerMismatch(f"no engine {wanted.get('engine')!r}; there are {', '.join(ENGINES)}")
    return engine.deal(server, client, wanted)
