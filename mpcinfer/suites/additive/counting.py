"""The bill of a run on CrypTen's primitives, on shapes alone."""

from __future__ import annotations

from mpcinfer.suites.arithmetic.passes import run_passes
from mpcinfer.suites.requests import Run
from parties.bill import Bill
from parties.meter import Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.registry import resolve
from protocols.plan import Plan


def count_additive(plan: Plan, run: Run) -> Bill:
    """As `Suite.count`."""
    meter = Meter(timed=False)
    run_passes(CountingArithmetic.of_plan(plan, meter), resolve(plan), run)
    return meter.bill()
