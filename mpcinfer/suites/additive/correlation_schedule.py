"""The correlations of a forward pass, as a schedule that is known before it starts."""

from __future__ import annotations

from collections.abc import Mapping

from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.arithmetic.foreseen import ForeseenSession
from parties.meter import Meter
from protocols.additive.correlations import Request
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.schedule import Schedule
from protocols.arithmetic.suite import Suite
from protocols.plan import Plan


class CorrelationSchedule:
    """Announced to the dealer in one message, correlations arrive while the parties compute, instead of one
    request and one answer an operation.

    Args:
        plan, suite, config, ranges, batch, prefix: as in the session.
    """

    def __init__(
        self,
        plan: Plan,
        suite: Suite,
        config: ModelConfig,
        ranges: Mapping[str, float],
        batch: Batch,
        public_prefix: int = 0,
    ) -> None:
        self._schedule = Schedule()
        self._executor = CountingArithmetic.of_plan(plan, Meter(timed=False), self._schedule)
        self._session = ForeseenSession(self._executor, suite, config, ranges, batch, public_prefix)

    @property
    def truncated(self) -> int:
        """How many numbers all steps so far truncate."""
        return self._executor.truncated

    def rewind(self, length: int) -> None:
        """Forgets all tokens but the first `length`."""
        self._session.rewind(length)

    def requests(self, tokens: int, rows: int = 1) -> list[Request]:
        """The correlations of a step of `tokens` tokens after those before it, `rows` of which get logits."""
        self._schedule.requests.clear()
        self._session.step(tokens, rows)
        return list(self._schedule.requests)
