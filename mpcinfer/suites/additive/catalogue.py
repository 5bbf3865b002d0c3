"""What the suite `crypten` has registered, each counted in the plan `crypten`."""

from __future__ import annotations

from collections.abc import Callable

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.arithmetic.catalogue import entries_of
from mpcinfer.suites.entry import Entry
from parties.bill import Bill
from parties.meter import Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.plans import PLANS
from protocols.additive.registry import OPERATIONS, resolve
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.plan import Plan
from protocols.trust import Security


def crypten_entries(config: ModelConfig, tokens: int) -> list[Entry]:
    """Every protocol of the suite, in the registry's order."""
    security = Security.SEMI_HONEST_DEALER
    return entries_of(PLANS["crypten"], OPERATIONS, resolve, _count_on, security, config, tokens)


def _count_on(plan: Plan, run: Callable[[Arithmetic], None]) -> Bill:
    meter = Meter(timed=False)
    run(CountingArithmetic.of_plan(plan, meter))
    return meter.bill()
