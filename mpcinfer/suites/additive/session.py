"""A private run on CrypTen's primitives, from a link to opened logits."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch

from mpcinfer.generation import Session
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import as_run
from mpcinfer.models.prefix_run import PrefixRun, require_prefix_possible
from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.addresses import Address
from mpcinfer.sessions.session import PrivateSession, rewind_cache
from mpcinfer.sessions.session_config import (
    SessionConfig,
    announce,
    dealer_link,
    greet,
    require_ranges,
    require_source,
)
from mpcinfer.suites.additive.batch import require_maskable
from mpcinfer.suites.additive.correlation_schedule import CorrelationSchedule
from mpcinfer.suites.arithmetic.agreed_batch import agreed_batch
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.arithmetic.public_prefix import shared_prefix
from parties.errors import ConfigError
from parties.keys import KeyPair
from parties.link import Link
from parties.shaped import Shape
from protocols.additive.crypten.executor import CrypTenArithmetic, crypten_executor
from protocols.additive.crypten.truncation import check_local_truncation, failure_probability
from protocols.additive.plans import NAME
from protocols.additive.primitives import FRAC_BITS
from protocols.additive.registry import resolve
from protocols.additive.source import InsecureServerDealer
from protocols.arithmetic.weight import Weight
from protocols.plan import Plan
from protocols.share import Share

LIKELIEST_FAILURE = 1e-6
"""Local truncation is refused where the model's largest number would go wrong more often than this."""
_OUTPUTS = ("/add", "/linear", "/matmul", "/mul", "/norm", "/activation", "/embed", "/head")


class CrypTenPrivateSession(PrivateSession):
    """A model on CrypTen's shares, with its KV cache. Correlations of a step are announced as it starts.

    Args:
        executor: this party's primitives, connected to the other party and to the dealer.
        plan: the same at both parties (the handshake saw to it).
        public: shape and ranges.
        weights: the server's weights in float; None at the client.
        batch: sequences of every pass.
        public_prefix: tokens of a public prefix.
        prefix_run: its keys and values, the server's; None at the client.

    Raises:
        ConfigError: the model was never calibrated.
        RangeError: its values span more than the plan's protocols can hold, or are so large that local
            truncation would often go wrong.
    """

    def __init__(
        self,
        executor: CrypTenArithmetic,
        plan: Plan,
        public: PublicModel,
        weights: Mapping[str, torch.Tensor] | None,
        batch: Batch = SINGLE,
        public_prefix: int = 0,
        prefix_run: PrefixRun | None = None,
    ) -> None:
        require_ranges(public)
        config, weights = as_run(public.config, weights, folds=plan.fold)
        suite, ranges = resolve(plan), dict(public.ranges)
        self._local_truncation = plan.choices["truncation"] == "local"
        if self._local_truncation:
            largest = max(value for key, value in ranges.items() if key.endswith(_OUTPUTS))
            check_local_truncation(largest, 1.0, 2 * FRAC_BITS, LIKELIEST_FAILURE)
        backend = SecureBackend(executor, suite, config.vocabulary, ranges, batch, config.types)
        self._backend, self._batch = backend, batch
        self._executor, self._prefix = executor, public_prefix
        self._schedule = CorrelationSchedule(plan, suite, config, ranges, batch, public_prefix)
        self._session: Session[Share, Weight] = Session(
            Decoder(backend, config, backend.load(config, weights)),
            shared_prefix(backend, config, public_prefix, batch.size, prefix_run),
        )

    @property
    def first(self) -> int:
        return self._prefix

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
        if not self._local_truncation:
            return []
        numbers = self._schedule.truncated
        chance = numbers * failure_probability(1.0, 2 * self._executor.frac_bits)
        return [
            f"{numbers:,} numbers were truncated locally, as CrypTen does: one of magnitude 1 goes wrong "
            f"with probability 2^-32, so {chance:.1g} are expected to; none with --set truncation=exact"
        ]

    def require_room(self, columns: ColumnWeights) -> None:
        self._backend.require_room(columns)

    def rewind(self, length: int) -> None:
        rewind_cache(self._session.cache, length)
        self._schedule.rewind(length)

    def advance(self, ids: Sequence[int] | None, count: int, rows: int = 1) -> torch.Tensor | None:
        self._executor.prefetch(self._schedule.requests(count, rows))
        self._backend.padding, self._backend.column_weights = self.padding, self.columns
        return self._session.advance(ids, count, rows, self.padding)


@contextmanager
def crypten_session(link: Link, session_config: SessionConfig) -> Generator[PrivateSession]:
    """A session on CrypTen's primitives.

    Raises:
        ConfigError: correlations from a folder, or see `CrypTenPrivateSession`.
    """
    if session_config.correlations is not None:
        raise ConfigError(
            f"plan {session_config.plan.name} takes its correlations from a dealer, not from a folder"
        )
    model, run = session_config.agreed_model, session_config.prefix_run
    require_source(session_config.dealer, None, session_config.insecure_dealer)
    with connected_executor(
        link,
        session_config.plan,
        model,
        session_config.keys,
        session_config.dealer,
        session_config.timeout_s,
        session_config.shape,
    ) as executor:
        batch = agreed_batch(link, session_config, partial(_require_batch, session_config.prefix_tokens))
        yield CrypTenPrivateSession(
            executor,
            session_config.plan,
            session_config.public,
            session_config.weights,
            batch,
            session_config.prefix_tokens,
            None if run is None else run(),
        )


def _require_batch(public_prefix: int, plan: Plan, config: ModelConfig, batch: Batch) -> None:
    """Raises ConfigError for passes that cannot be run, or not after a public prefix of so many tokens."""
    require_maskable(plan, config, batch)
    if public_prefix:
        require_prefix_possible(config, batch)


@contextmanager
def connected_executor(
    link: Link,
    plan: Plan,
    model: str,
    keys: KeyPair | None,
    dealer: Address | None,
    timeout_s: float,
    shape: Shape | None = None,
) -> Generator[CrypTenArithmetic]:
    """The plan's suite after handshakes with the peer and the dealer. `model` is what both must agree on."""
    agreed_plan = plan.digest() if dealer is not None else f"{plan.digest()}, insecure: the server deals"
    agreed = greet(link, agreed_plan, model)
    with ExitStack() as stack:
        source: Link | InsecureServerDealer
        if dealer is None:
            source = InsecureServerDealer(allow_insecure=True)
        else:
            source = stack.enter_context(dealer_link(agreed, dealer, keys, timeout_s, shape))
            announce(source, NAME)
        yield stack.enter_context(crypten_executor(link, source, plan, agreed.key))
