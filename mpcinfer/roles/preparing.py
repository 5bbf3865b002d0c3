"""Making correlations with the other party for conversations to come, over a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.addresses import Address, Identity
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.requests import Kept
from parties.errors import PeerTimeout
from parties.keys import KeyPair
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.tcp import Listener, TcpChannel, connect
from protocols.plan import Plan

_WAIT_S = 3600.0


def prepare_as_server(
    public: PublicModel,
    weights: Mapping[str, torch.Tensor],
    plan: Plan,
    kept: Kept,
    *,
    listen: str,
    identity: Identity,
    timeout_s: float = 60.0,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """The server's side: waits for the client, which says how much is made; how many bundles there are.

    Raises:
        ConfigError, PeerError: as `Suite.prepare`.
    """
    say(f"server: preparing for {public.name}, plan {plan.name}, at {listen}")
    channel: TcpChannel | None = None
    while channel is None:
        try:
            channel = Listener(listen, identity.keys, [identity.peer]).accept(_WAIT_S, timeout_s)
        except PeerTimeout:
            continue
    suite = suite_of(plan)
    with Link(channel, Meter(), SERVER) as link:
        ready = SessionConfig(
            plan=plan, public=public, weights=weights, keys=identity.keys, timeout_s=timeout_s
        )
        return suite.prepare(link, suite.ready(ready), kept)


def prepare_as_client(
    public: PublicModel, plan: Plan, kept: Kept, *, keys: KeyPair, server: Address, timeout_s: float = 60.0
) -> int:
    """The client's side; how many bundles there are.

    Raises:
        ConfigError, PeerError: as `Suite.prepare`.
    """
    suite = suite_of(plan)
    ready = suite.ready(SessionConfig(plan=plan, public=public, keys=keys, timeout_s=timeout_s))
    channel = connect(
        server.endpoint, keys, server.public_key, connect_timeout_s=timeout_s, recv_timeout_s=timeout_s
    )
    with Link(channel, Meter(), CLIENT) as link:
        return suite.prepare(link, ready, kept)
