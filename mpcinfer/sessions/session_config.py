"""One party's configuration of a session, and its connections to the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.buckets import Buckets
from mpcinfer.models.prefix_run import PrefixSource
from mpcinfer.models.public import PublicModel
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.public_prefix import PublicPrefix
from mpcinfer.sessions.addresses import Address
from mpcinfer.sessions.progress import Progress
from parties.admission import Dial, Request, seek
from parties.channel import Channel
from parties.errors import ConfigError, InsecureRefused, PeerTimeout
from parties.handshake import ROLES, Hello, Session, shake_hands
from parties.keys import KeyPair
from parties.link import Link
from parties.randomness import SystemRandom
from parties.shaped import Shape, Shaped, over
from parties.tcp import TcpChannel, connect
from protocols.plan import Plan

DEAL_SESSION = "deal.session"
IDLE_S = 600.0
MOST_IDLE_S = 3600.0
"""A dealer waits so long for a session's next request, and a server may."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SessionConfig:
    """One party's side of a session.

    Attributes:
        plan, public: the same at both parties (the handshake sees to it).
        weights: the server's, in float; None at the client.
        load_weights: the server's as well, where they are not in memory: reads them for a session that wants
            what `encoded` has not. None where `weights` are there, and at the client.
        encoded: what the plan's suite made of them ahead, by name; for it alone to read.
        keys: this party's.
        dealer: where correlations come from.
        correlations: a folder of correlations that `mpcinfer deal` or `prepare` made, instead of a dealer.
        insecure_dealer: with neither, the server makes the correlations itself.
        timeout_s: longest wait for a connection, and longest silence of a peer.
        idle_s: longest silence of the client between two steps of a session.
        max_context: the most tokens the session will hold, where the plan's suite asks for it; the client
            decides.
        first: how many tokens the client's first pass will have, 0 where it does not know: it may be dealt
            for while the session is set up.
        batch: sequences of every pass; the client decides.
        buckets: what the server asks clients to pad prompts to, who decide; None at the client.
        on_progress: is told how far the dealing is, now and then, from any thread.
        check_ranges: every pass is evaluated twice, and the client told where a value left its range; the
            same at both parties (the handshake sees to it).
        public_prefix: a text that both parties know and that comes before every prompt; the same at both (the
            handshake sees to it).
        prefix_run: the server's keys and values of it; None at the client.
        shape: the dealer's connection behaves like a slower one, at both of its ends; to measure with.
        prefix: this party's summands of what every query sees besides the tokens; features are the same at
            both parties (the handshake sees to it).

    A server that is its own dealer is insecure: it could decrypt everything. Both parties must agree to it,
    and the bill says so.
    """

    plan: Plan
    public: PublicModel
    weights: Mapping[str, torch.Tensor] | None = None
    load_weights: Callable[[], Mapping[str, torch.Tensor]] | None = None
    encoded: Mapping[str, object] | None = None
    keys: KeyPair | None = None
    dealer: Address | None = None
    correlations: Path | None = None
    insecure_dealer: bool = False
    timeout_s: float = 60.0
    idle_s: float = IDLE_S
    max_context: int | None = None
    first: int = 0
    batch: Batch = SINGLE
    buckets: Buckets | None = None
    on_progress: Callable[[Progress], None] | None = None
    check_ranges: bool = False
    shape: Shape | None = None
    public_prefix: PublicPrefix | None = None
    prefix_run: PrefixSource | None = None

    @property
    def prefix_tokens(self) -> int:
        """Tokens of the public prefix; 0 for none."""
        return 0 if self.public_prefix is None else len(self.public_prefix)

    @property
    def agreed_model(self) -> str:
        """What both must say about the model: its digest, and the public prefix where there is one."""
        digest = self.public.digest()
        return digest if self.public_prefix is None else f"{digest}, {self.public_prefix.agreement}"

    prefix: PrefixPart | None = None


def require_source(dealer: Address | None, correlations: Path | None, insecure_dealer: bool) -> None:
    """Raises InsecureRefused where the server alone could make correlations, and that was not asked for."""
    if dealer is None and correlations is None and not insecure_dealer:
        raise InsecureRefused(
            "say where correlations come from: a dealer, or a folder that one wrote. A server that is its "
            "own dealer can decrypt everything; to measure with one, both ask for it: insecure_dealer=True"
        )


def require_ranges(public: PublicModel) -> None:
    """Raises ConfigError for a model that was never calibrated."""
    if not public.ranges:
        raise ConfigError(
            f"{public.name} was never calibrated, so nobody knows which values a private run must hold: "
            "run `mpcinfer calibrate` and put the ranges.json it writes into the model's folder"
        )


def greet(link: Link, agreement: str, model: str) -> Session:
    """The handshake with the other party.

    Args:
        agreement: what both must say about the plan.
        model: what both must say about the model.

    Raises:
        HandshakeFailed: the other party is of another version, plan or model.
    """
    assert link.rank is not None
    hello = Hello(role=ROLES[link.rank], plan=agreement, model=model)
    return shake_hands(link, hello, ROLES[1 - link.rank], SystemRandom())


def dialling(keys: KeyPair | None, peer: str, timeout_s: float, shape: Shape | None) -> Dial:
    """How a party connects to a peer, and to whom that sends it.

    Args:
        peer: the peer's public key.
        timeout_s: longest wait for a connection, and longest silence afterwards.
        shape: as in `SessionConfig`.
    """

    def dial(endpoint: str, most_s: float | None) -> Channel:
        connect_s = timeout_s if most_s is None else min(most_s, timeout_s)
        channel = connect(endpoint, keys, peer, connect_timeout_s=connect_s, recv_timeout_s=timeout_s)
        return over(channel, shape)

    return dial


@contextmanager
def dealer_link(
    session: Session, dealer: Address, keys: KeyPair | None, timeout_s: float, shape: Shape | None = None
) -> Generator[Link]:
    """A connection to the dealer of a session between two parties, after the handshake.

    Args:
        shape: as in `SessionConfig`.

    Raises:
        HandshakeFailed: the dealer is of another version or key.
        AdmissionRefused: the dealer serves many, and not this session now.
        PeerTimeout: nobody answered.
    """
    dial = dialling(keys, dealer.public_key, timeout_s, shape)
    asked = Request(role=session.mine.role, parent=session.id)
    with seek(dial, dealer.endpoint, asked, patience_s=timeout_s) as link:
        hello = dataclasses.replace(session.mine, parent=session.id)
        shake_hands(link, hello, "dealer", SystemRandom())
        yield link


@contextmanager
def idle_timeout(link: Link, idle_s: float) -> Generator[None]:
    """Sets the longest wait for messages inside of the block, or leaves a longer one: a person may be
    thinking about the next prompt.

    Raises:
        PeerTimeout: nothing came; says that this ends an idle session.
    """
    channel = link.channel
    if not isinstance(channel, TcpChannel | Shaped):
        yield
        return
    usual, channel.recv_timeout_s = channel.recv_timeout_s, max(idle_s, channel.recv_timeout_s)
    try:
        yield
    except PeerTimeout:
        idle = f"idle for {channel.recv_timeout_s:g} s: the peer asked for nothing, and the session ends"
        raise PeerTimeout(idle) from None
    finally:
        channel.recv_timeout_s = usual


def announce(link: Link, suite: str, **document: Any) -> None:
    """Tells the dealer which suite's correlations the session takes, and for what."""
    link.send_document({"suite": suite, **document}, DEAL_SESSION)
