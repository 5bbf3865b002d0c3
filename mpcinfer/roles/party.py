"""One party's half of a private run, from a link to opened logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch

from mpcinfer.backends.secure import SecureBackend
from mpcinfer.generation import Session
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.fold import fold_norms, folded_config
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.addresses import Address
from mpcinfer.roles.foresight import Foresight
from parties.errors import ConfigError
from parties.handshake import Hello, shake_hands
from parties.keys import KeyPair
from parties.link import Link
from parties.meter import Meter
from parties.randomness import SystemRandom
from parties.tcp import connect
from protocols.crypten.engine import CrypTenArithmetic, crypten_engine
from protocols.crypten.truncation import check_local_truncation, failure_probability
from protocols.plan import Plan
from protocols.registry import resolve
from protocols.share import Share
from protocols.source import InsecureServerDealer
from protocols.weight import Weight

ROLES = ("server", "client")
LIKELIEST_FAILURE = 1e-6
"""Local truncation is refused where the model's largest number would go wrong more often than this."""
_OUTPUTS = ("/add", "/linear", "/matmul", "/mul", "/norm", "/activation", "/embed", "/head")


class PrivateSession:
    """A model on shares, with its KV cache; both parties hold one and step it together.

    Args:
        engine: this party's primitives, connected to the other party and to the dealer.
        plan: the same at both parties (the handshake saw to it).
        public: shape and ranges.
        weights: the server's weights in float; None at the client.

    Raises:
        ConfigError: the model was never calibrated.
        RangeError: its values span more than the plan's protocols can hold, or are so large that local
            truncation would often go wrong.
    """

    def __init__(
        self,
        engine: CrypTenArithmetic,
        plan: Plan,
        public: PublicModel,
        weights: Mapping[str, torch.Tensor] | None,
    ) -> None:
        config = public.config
        if not public.ranges:
            raise ConfigError(
                f"{public.name} was never calibrated, so nobody knows which values a private run must hold: "
                "run `mpcinfer calibrate` and put the ranges.json it writes into the model's folder"
            )
        if plan.fold:
            if weights is not None:
                config, weights = fold_norms(config, weights)
            else:
                config = folded_config(config)
        suite, ranges = resolve(plan), dict(public.ranges)
        self._local_truncation = plan.truncation == "local"
        if self._local_truncation:
            largest = max(value for key, value in ranges.items() if key.endswith(_OUTPUTS))
            check_local_truncation(largest, 1.0, 2 * plan.frac_bits, LIKELIEST_FAILURE)
        backend = SecureBackend(engine, suite, config.vocabulary, ranges)
        self._engine, self._foresight = engine, Foresight(plan, suite, config, ranges)
        self._session: Session[Share, Weight] = Session(
            Decoder(backend, config, backend.load(config, weights))
        )

    @property
    def length(self) -> int:
        """Tokens in the KV cache."""
        return self._session.cache.length

    @property
    def context(self) -> int:
        """The most tokens it can hold."""
        return self._session.decoder.config.context

    @property
    def notes(self) -> list[str]:
        """What whoever reads the bill should know about the result."""
        if not self._local_truncation:
            return []
        numbers = self._foresight.truncated
        chance = numbers * failure_probability(1.0, 2 * self._engine.frac_bits)
        return [
            f"{numbers:,} numbers were truncated locally, as CrypTen does: one of magnitude 1 goes wrong "
            f"with probability 2^-32, so {chance:.1g} are expected to; none with --set truncation=exact"
        ]

    def restart(self) -> None:
        """Forgets all tokens; weights stay."""
        self._session.cache = KVCache()
        self._foresight.restart()

    def advance(self, ids: Sequence[int] | None, count: int) -> torch.Tensor | None:
        """Runs `count` more tokens; logits [V] of the next token at the client, None at the server."""
        self._engine.prefetch(self._foresight.requests(count))
        return self._session.advance(ids, count)


@contextmanager
def private_session(
    link: Link,
    plan: Plan,
    public: PublicModel,
    weights: Mapping[str, torch.Tensor] | None,
    keys: KeyPair,
    dealer: Address | None,
    timeout_s: float,
) -> Generator[PrivateSession]:
    """Handshake with the peer, connection to the dealer, weights on shares: ready to step.

    Args:
        link: to the other party, fresh.
        weights: the server's; None at the client.
        dealer: None where the server makes the correlations itself, which is insecure: it could decrypt
            everything. Both parties must agree to it, and the bill says so.

    Raises:
        HandshakeFailed: the peer is of another version, plan, model, or trusts another kind of dealer.
        ConfigError, RangeError: see `PrivateSession`.
        PeerError: the peer or the dealer went away or sent what it should not.
    """
    with connected_engine(link, plan, public.digest(), keys, dealer, timeout_s) as engine:
        yield PrivateSession(engine, plan, public, weights)


@contextmanager
def connected_engine(
    link: Link, plan: Plan, model: str, keys: KeyPair, dealer: Address | None, timeout_s: float
) -> Generator[CrypTenArithmetic]:
    """The plan's engine after handshakes with the peer and the dealer. `model` is what both must agree on."""
    assert link.rank is not None
    role, peer_role = (ROLES[rank] for rank in (link.rank, 1 - link.rank))
    randomness = SystemRandom()
    agreed_plan = plan.digest() if dealer is not None else f"{plan.digest()}, insecure: the server deals"
    hello = Hello(role=role, plan=agreed_plan, model=model)
    agreed = shake_hands(link, hello, peer_role, randomness)
    with ExitStack() as stack:
        source: Link | InsecureServerDealer
        if dealer is None:
            source = InsecureServerDealer(allow_insecure=True)
        else:
            channel = connect(
                dealer.endpoint,
                keys,
                dealer.public_key,
                connect_timeout_s=timeout_s,
                recv_timeout_s=timeout_s,
            )
            source = stack.enter_context(Link(channel, Meter(), None))
            shake_hands(source, dataclasses.replace(hello, parent=agreed.id), "dealer", randomness)
        yield stack.enter_context(crypten_engine(link, source, plan, agreed.key))
