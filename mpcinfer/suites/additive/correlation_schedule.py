"""The correlations of a forward pass, as a schedule that is known before it starts."""

from __future__ import annotations

from mpcinfer.generation import Session
from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.sessions.session import rewind_cache
from mpcinfer.suites.additive.backend import SecureBackend
from parties.meter import Meter
from protocols.additive.correlations import Request
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.registry import Suite
from protocols.additive.schedule import Schedule
from protocols.additive.weight import Weight
from protocols.plan import Plan
from protocols.share import Share


class CorrelationSchedule:
    """Runs a private session on shapes alone, to learn its correlations.

    It takes the same steps and collects the correlations each needs, in order. Announced to the dealer in one
    message, they arrive while the parties compute, instead of one request and one answer an operation.

    Args:
        plan, suite, config: as in the session.
        ranges: as in the session; they decide which correlations a norm takes.
        batch: as in the session.
    """

    def __init__(
        self, plan: Plan, suite: Suite, config: ModelConfig, ranges: dict[str, float], batch: Batch
    ) -> None:
        self._schedule = Schedule()
        self._executor = CountingArithmetic.of_plan(plan, Meter(timed=False), self._schedule)
        backend = SecureBackend(self._executor, suite, config.vocabulary, ranges, batch, config.types)
        weights = backend.load(config, None)
        self._session: Session[Share, Weight] = Session(Decoder(backend, config, weights))

    @property
    def truncated(self) -> int:
        """How many numbers all steps so far truncate."""
        return self._executor.truncated

    def rewind(self, length: int) -> None:
        """Forgets all tokens but the first `length`."""
        rewind_cache(self._session.cache, length)

    def requests(self, tokens: int, rows: int = 1) -> list[Request]:
        """The correlations of a step of `tokens` tokens after those before it, `rows` of which get logits."""
        self._schedule.requests.clear()
        self._session.advance(None, tokens, rows)
        return list(self._schedule.requests)
