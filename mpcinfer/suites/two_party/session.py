"""A private run between two parties and nobody else, from a link to opened logits."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mpcinfer.generation import Session
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import as_run
from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.progress import Stage
from mpcinfer.sessions.session import PrivateSession, rewind_cache
from mpcinfer.sessions.session_config import SessionConfig, greet, require_ranges
from mpcinfer.sessions.tally import Tally
from mpcinfer.suites.arithmetic.agreed_batch import agreed_batch
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.arithmetic.foreseen import ForeseenSession
from mpcinfer.suites.two_party.ring import ring_bits
from parties.link import Link
from parties.meter import Meter
from protocols.arithmetic.weight import Weight
from protocols.plan import Plan
from protocols.share import Share
from protocols.two_party.correlations import Kind
from protocols.two_party.counting import CountingArithmetic
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.primitives import FRAC_BITS
from protocols.two_party.registry import resolve
from protocols.two_party.source import TwoPartySource
from protocols.two_party.stored_source import KeptSource

SAID = {
    Kind.PRODUCT: "products",
    Kind.SQUARE: "squares",
    Kind.MATMUL: "attention",
    Kind.SCORES: "attention",
    Kind.MIX: "attention",
    Kind.LINEAR: "linear layers",
    Kind.LINEAR_TRANSPOSED: "the head",
    Kind.WRAP: "truncation",
    Kind.SELECT: "selection",
    Kind.BIT: "bits",
    Kind.AND: "bits of functions",
    Kind.DIGIT: "comparison",
    Kind.PLACE_128: "look-ups",
    Kind.PLACE_256: "look-ups",
    Kind.TRANSFER: "look-ups",
}
"""What correlations are for, to people who wait for them."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """A pass whose correlations were asked for.

    Attributes:
        start: tokens before it.
        tokens, rows: of it.
    """

    start: int
    tokens: int
    rows: int


class TwoPartySession(PrivateSession):
    """A model on additive shares, with its KV cache.

    Correlations of a pass are made as it takes them, or ahead of it and of the prompt: by `prepare` and
    `settle`, for passes whose lengths are known.

    Args:
        link: to the other party, after the handshake.
        plan: the same at both parties (the handshake saw to it).
        public: shape and ranges.
        weights: the server's weights in float; None at the client.
        batch: sequences of every pass.
        progress: is told how far the making of correlations is.
        kept: correlations that were made before; None to make them.

    Raises:
        ConfigError: the model was never calibrated.
        RangeError: its values span more than rings or the plan's protocols can hold.
    """

    def __init__(
        self,
        link: Link,
        plan: Plan,
        public: PublicModel,
        weights: Mapping[str, torch.Tensor] | None,
        batch: Batch = SINGLE,
        progress: Tally | None = None,
        kept: KeptSource | None = None,
    ) -> None:
        require_ranges(public)
        config, weights = as_run(public.config, weights, folds=plan.fold)
        suite, ranges = resolve(plan), dict(public.ranges)
        bits = ring_bits(config, ranges)
        self._link, self._batch, self._progress = link, batch, progress or Tally(None)
        on_kind = self._tell if self._progress.listened_to else None
        self._source = kept or TwoPartySource(link, on_kind)
        executor = TwoPartyArithmetic(link, self._source, bits, FRAC_BITS)
        self._backend = SecureBackend(executor, suite, config.vocabulary, ranges, batch, config.types)
        self._counting = CountingArithmetic(Meter(timed=False), bits, FRAC_BITS)
        self._foreseen = ForeseenSession(self._counting, suite, config, ranges, batch)
        self._session: Session[Share, Weight] = Session(
            Decoder(self._backend, config, self._backend.load(config, weights))
        )
        self._asked: deque[_Pass] = deque()
        self._unused = self._expected_bytes = self._before_bytes = 0
        self._expect_anew()

    @property
    def length(self) -> int:
        return self._session.cache.length

    @property
    def context(self) -> int:
        return self._session.decoder.config.context

    @property
    def batch(self) -> Batch:
        return self._batch

    @property
    def notes(self) -> list[str]:
        if not self._unused:
            return []
        return [f"{self._unused} passes were prepared for and never run: their correlations are in the bill"]

    @property
    def prepared_end(self) -> int:
        return self._foreseen.length

    @property
    def asked(self) -> bool:
        """Whether passes were asked for that have not run."""
        return bool(self._asked)

    def is_next(self, tokens: int, rows: int) -> bool:
        """Whether a pass of that many tokens and rows was asked for and comes next."""
        return bool(self._asked) and self._asked[0] == _Pass(self.length, tokens, rows)

    def prepare(self, lengths: Sequence[int], rows: int = 1) -> None:
        for tokens in lengths:
            self._asked.append(_Pass(self._foreseen.length, tokens, rows))
            self._foreseen.step(tokens, rows)
            self._source.announce(self._counting.requests)
            if self._progress.listened_to:
                before = _offline_bytes(self._counting.meter)
                self._counting.settle()
                self._expected_bytes += _offline_bytes(self._counting.meter) - before
            self._counting.requests.clear()

    def settle(self) -> None:
        self._source.make_all()

    def require_room(self, columns: ColumnWeights) -> None:
        self._backend.require_room(columns)

    def rewind(self, length: int) -> None:
        self._source.give_up()
        self._unused += len(self._asked)
        self._asked.clear()
        self._expect_anew()
        rewind_cache(self._session.cache, length)
        self._foreseen.rewind(length)

    def advance(self, ids: Sequence[int] | None, count: int, rows: int = 1) -> torch.Tensor | None:
        step = _Pass(self.length, count, rows)
        if self._asked and self._asked[0] != step:
            self.rewind(step.start)
        if not self._asked:
            self.prepare([count], rows)
        self._asked.popleft()
        self._backend.padding, self._backend.column_weights = self.padding, self.columns
        layers = self._session.decoder.config.layers
        with self._progress.layers(self._link.meter, Stage.ONLINE, layers):
            logits = self._session.advance(ids, count, rows, self.padding)
        if not self._asked:
            self._expect_anew()
        return logits

    def _expect_anew(self) -> None:
        """All that was announced was made, or was given up."""
        if self._progress.listened_to:
            self._expected_bytes, self._before_bytes = 0, _offline_bytes(self._link.meter)

    def _tell(self, kind: Kind) -> None:
        made = _offline_bytes(self._link.meter) - self._before_bytes
        self._progress.correlations(made, self._expected_bytes, SAID[kind])


def _offline_bytes(meter: Meter) -> int:
    """What both parties sent for correlations so far."""
    total = meter.bill().total
    return total.offline_bytes_to_server + total.offline_bytes_to_client


@contextmanager
def two_party_session(link: Link, session_config: SessionConfig) -> Generator[PrivateSession]:
    """A session after the handshake with the other party.

    Raises:
        ConfigError, RangeError: see `TwoPartySession`.
        PeerMismatch: the client asks for a batch that cannot be run.
    """
    plan, public = session_config.plan, session_config.public
    greet(link, plan.digest(), public.digest())
    batch = agreed_batch(link, session_config)
    progress = Tally(session_config.on_progress)
    yield TwoPartySession(link, plan, public, session_config.weights, batch, progress)
