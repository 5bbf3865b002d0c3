"""A private run between two parties and nobody else, from a link to opened logits."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

import torch

from mpcinfer.generation import Session
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import as_run
from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.session import PrivateSession, rewind_cache
from mpcinfer.sessions.session_config import SessionConfig, greet, require_ranges
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.arithmetic.foreseen import ForeseenSession
from mpcinfer.suites.two_party.ring import ring_bits
from parties.errors import ConfigError
from parties.link import Link
from parties.meter import Meter
from protocols.arithmetic.weight import Weight
from protocols.plan import Plan
from protocols.share import Share
from protocols.two_party.counting import CountingArithmetic
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.primitives import FRAC_BITS
from protocols.two_party.registry import resolve
from protocols.two_party.source import TwoPartySource


class TwoPartySession(PrivateSession):
    """A model on additive shares, with its KV cache. Correlations of a step are made as it starts.

    Args:
        link: to the other party, after the handshake.
        plan: the same at both parties (the handshake saw to it).
        public: shape and ranges.
        weights: the server's weights in float; None at the client.

    Raises:
        ConfigError: the model was never calibrated.
        RangeError: its values span more than rings or the plan's protocols can hold.
    """

    def __init__(
        self, link: Link, plan: Plan, public: PublicModel, weights: Mapping[str, torch.Tensor] | None
    ) -> None:
        require_ranges(public)
        config, weights = as_run(public.config, weights, folds=plan.fold)
        suite, ranges = resolve(plan), dict(public.ranges)
        bits = ring_bits(config, ranges)
        self._source = TwoPartySource(link)
        executor = TwoPartyArithmetic(link, self._source, bits, FRAC_BITS)
        backend = SecureBackend(executor, suite, config.vocabulary, ranges, types=config.types)
        self._counting = CountingArithmetic(Meter(timed=False), bits, FRAC_BITS)
        self._foreseen = ForeseenSession(self._counting, suite, config, ranges, self.batch)
        self._session: Session[Share, Weight] = Session(
            Decoder(backend, config, backend.load(config, weights))
        )

    @property
    def length(self) -> int:
        return self._session.cache.length

    @property
    def context(self) -> int:
        return self._session.decoder.config.context

    @property
    def notes(self) -> list[str]:
        return []

    def rewind(self, length: int) -> None:
        rewind_cache(self._session.cache, length)
        self._foreseen.rewind(length)

    def advance(self, ids: Sequence[int] | None, count: int, rows: int = 1) -> torch.Tensor | None:
        self._foreseen.step(count, rows)
        self._source.announce(self._counting.requests)
        self._counting.requests.clear()
        return self._session.advance(ids, count, rows)


@contextmanager
def two_party_session(link: Link, session_config: SessionConfig) -> Generator[PrivateSession]:
    """A session after the handshake with the other party.

    Raises:
        ConfigError: correlations from a folder or a dealer, or see `TwoPartySession`.
    """
    plan, public = session_config.plan, session_config.public
    if session_config.correlations is not None or session_config.dealer is not None:
        raise ConfigError(f"plan {plan.name} has no dealer: the two parties make all correlations themselves")
    greet(link, plan.digest(), public.digest())
    yield TwoPartySession(link, plan, public, session_config.weights)
