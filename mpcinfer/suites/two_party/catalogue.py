"""What the suite `two-party` has registered, each counted in its plan."""

from __future__ import annotations

from collections.abc import Callable

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.arithmetic.catalogue import entries_of
from mpcinfer.suites.entry import Entry
from mpcinfer.suites.two_party.ring import UNCALIBRATED_RING
from parties.bill import Bill
from parties.meter import Meter
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.plan import Plan
from protocols.trust import Security
from protocols.two_party.counting import CountingArithmetic
from protocols.two_party.plans import NAME, PLANS
from protocols.two_party.primitives import FRAC_BITS
from protocols.two_party.registry import OPERATIONS, resolve


def two_party_entries(config: ModelConfig, tokens: int) -> list[Entry]:
    """Every protocol of the suite, in the registry's order."""
    security = Security.SEMI_HONEST
    return entries_of(PLANS[NAME], OPERATIONS, resolve, _count_on, security, config, tokens)


def _count_on(plan: Plan, run: Callable[[Arithmetic], None]) -> Bill:
    meter = Meter(timed=False)
    executor = CountingArithmetic(meter, UNCALIBRATED_RING, FRAC_BITS)
    run(executor)
    executor.settle()
    return meter.bill()
