"""The server: owns the weights, serves one client session after the other."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from mpcinfer.models.buckets import DEFAULT_BUCKETS, Buckets
from mpcinfer.models.prefix_run import OnePrefixRun, PrefixSource, run_prefix
from mpcinfer.models.public import PublicModel
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.public_prefix import PrefixText, PublicPrefix
from mpcinfer.roles.watch import Watch
from mpcinfer.sessions.addresses import Address, Identity
from mpcinfer.sessions.exchange import serve_steps
from mpcinfer.sessions.public_exchange import MOST_FIRST_BYTES, give_public
from mpcinfer.sessions.session_config import IDLE_S, SessionConfig, require_source
from mpcinfer.sessions.step_limits import UNLIMITED, StepLimits
from mpcinfer.sessions.terms import give_buckets
from mpcinfer.suites.registry import disclosures, suite_of
from mpcinfer.suites.suite import DEALER
from parties.admission import answer_here
from parties.bill import Bill
from parties.channel import Channel
from parties.errors import HandshakeFailed, MpcInferError, PeerTimeout
from parties.link import Link
from parties.meter import SERVER, Meter
from parties.shaped import Shape, over
from parties.tcp import Listener
from protocols.plan import Plan

Say = Callable[[str], None]
_WAIT_S = 3600.0
_SHOWN_LABELS = 8


def serve_sessions(
    public: PublicModel,
    weights: Mapping[str, torch.Tensor],
    plan: Plan,
    *,
    listen: str,
    identity: Identity,
    dealer: Address | None,
    correlations: Path | None = None,
    timeout_s: float,
    idle_s: float = IDLE_S,
    once: bool,
    say: Say,
    check_ranges: bool = False,
    insecure_dealer: bool = False,
    shape: Shape | None = None,
    public_prefix: PrefixText | None = None,
    prefix: PrefixPart | None = None,
    buckets: Buckets = DEFAULT_BUCKETS,
    watch: Watch | None = None,
) -> None:
    """Serves sessions until the process is ended, or one with `once`.

    A session that fails is reported and ends; the next client is served.

    Args:
        weights: in float; they may be `Loading`. With `once` the client is met meanwhile, who is on its way.
        listen: `tcp://host:port`.
        identity: the server's keys, and the client that may connect.
        dealer: where correlations come from.
        correlations: a folder with correlations for this server, made by `mpcinfer deal`, instead of a
            dealer.
        timeout_s: longest silence of a peer.
        idle_s: longest silence of the client between two steps, after which its session ends.
        say: is told of progress, a line at a time.
        insecure_dealer: with neither, the server is its own dealer and could decrypt everything; to measure
            with. Not every plan allows it.
        check_ranges: as for `connect_client`; clients that do not ask for it are refused.
        public_prefix: comes before every prompt; it is run in the clear, once for all sessions. Clients that
            have another, or none, are refused.
        shape: all connections behave like slower ones, which the others must have, too; to measure with.
        prefix: what this server has of what every query sees besides; clients must have the same features.
        buckets: lengths that clients are asked to pad prompts to; they decide.
        watch: is told of sessions that begin and end.

    Raises:
        ConfigError: the endpoint, the model or the public prefix cannot be used, or buckets would tell
            lengths.
        RangeError: keys or values of the prefix leave their calibrated ranges.
        InsecureRefused: neither dealer nor correlations, and not asked for.
        MpcInferError: with `once`, whatever ended the session.
    """
    suite, watch = suite_of(plan), watch or Watch()
    buckets.require_coarse()
    if DEALER in suite.helpers:
        require_source(dealer, correlations, insecure_dealer)
    known = None if public_prefix is None else public_prefix.of(public)
    prefix_run = None if known is None else OnePrefixRun(prefix_source(public, weights, known))
    session_config = suite.ready(
        SessionConfig(
            plan=plan,
            public=public,
            weights=weights,
            keys=identity.keys,
            dealer=dealer,
            correlations=correlations,
            timeout_s=timeout_s,
            idle_s=idle_s,
            check_ranges=check_ranges,
            insecure_dealer=insecure_dealer,
            shape=shape,
            public_prefix=known,
            prefix_run=prefix_run,
            prefix=prefix,
            buckets=buckets,
        )
    )
    if prefix_run is not None and not once:
        prefix_run()
    if not once:
        len(session_config.weights or ())  # waits: nobody should be let in by a server that cannot serve
        len(session_config.encoded or ())
    say_what_is_served(session_config, listen, say)
    watch.listening()
    while True:
        try:
            channel = Listener(listen, identity.keys, [identity.peer]).accept(_WAIT_S, timeout_s)
        except PeerTimeout:
            continue
        except HandshakeFailed as error:
            if once:
                raise
            say(f"server: nobody came in: {error}")
            continue
        watch.session_started()
        try:
            bill = serve_channel(over(channel, shape), session_config)
            say(f"server: session over, {bill.total.rounds} rounds online")
            watch.session_ended(bill)
        except MpcInferError as error:
            watch.session_failed(error)
            if once:
                raise
            say(f"server: session failed: {type(error).__name__}: {error}")
        if once:
            return
        gc.collect()  # a session's arrays are within cycles of few objects, which Python would keep for long


def say_what_is_served(session_config: SessionConfig, listen: str, say: Say) -> None:
    """Model, plan, what clients get of it, and what the plan discloses."""
    public, plan, known = session_config.public, session_config.plan, session_config.public_prefix
    say(f"server: {public.name} ({public.config.parameters:,} parameters), plan {plan.name}, at {listen}")
    say(f"server: clients get {what_clients_get(public)}; digest {public.digest()}")
    if known is not None:
        say(f"server: every prompt follows a public prefix of {len(known):,} tokens, run here in the clear")
    buckets = session_config.buckets or DEFAULT_BUCKETS
    say(f"server: clients are asked to pad prompts to these numbers of tokens: {buckets}")
    for disclosure in disclosures(plan):
        say(f"server: {disclosure}")


def prefix_source(
    public: PublicModel, weights: Mapping[str, torch.Tensor], public_prefix: PublicPrefix
) -> PrefixSource:
    """What runs the prefix of a server's sessions."""
    return lambda: run_prefix(public.config, weights, public_prefix.ids, public.ranges)


def serve_channel(channel: Channel, session_config: SessionConfig, limits: StepLimits = UNLIMITED) -> Bill:
    """Serves one session over a connected channel, which is closed at the end; the server's bill.

    A client that asks is told what to pad prompts to, and one that has nothing of the model is given its
    public part, first.

    Raises:
        AdmissionRefused: the session went beyond a limit; the client was told.
    """
    with Link(channel, Meter(), SERVER) as link:
        answer_here(link, MOST_FIRST_BYTES)
        give_buckets(link, session_config.buckets or DEFAULT_BUCKETS)
        give_public(link, session_config.public)
        with suite_of(session_config.plan).open(link, session_config) as session:
            return serve_steps(link, session, session_config.idle_s, limits)


def what_clients_get(public: PublicModel) -> str:
    """What every client learns of a model, in words; of many names of classes the first."""
    if not public.labels:
        return "its shape, tokenizer and ranges"
    names = ", ".join(public.labels[:_SHOWN_LABELS])
    more = len(public.labels) - _SHOWN_LABELS
    return (
        "its shape, tokenizer, ranges and names of classes: " + names + (f", {more} more" if more > 0 else "")
    )
