"""The bill of a run of the suite `two-party`, on shapes alone."""

from __future__ import annotations

from mpcinfer.suites.arithmetic.passes import run_passes
from mpcinfer.suites.requests import Run
from mpcinfer.suites.two_party.ring import ring_bits
from parties.bill import Bill
from parties.meter import Meter
from protocols.plan import Plan
from protocols.two_party.counting import CountingArithmetic
from protocols.two_party.primitives import FRAC_BITS
from protocols.two_party.registry import resolve


def count_two_party(plan: Plan, run: Run) -> Bill:
    """As `Suite.count`."""
    meter = Meter(timed=False)
    executor = CountingArithmetic(meter, ring_bits(run.config, run.ranges), FRAC_BITS)
    run_passes(executor, resolve(plan), run, executor.settle)
    return meter.bill()
