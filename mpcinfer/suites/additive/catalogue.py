"""What the suite `crypten` has registered, counted on samples of a GPT-2 block's shape."""

from __future__ import annotations

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.arithmetic.samples import POWER, ROW_RANGE, SAMPLES, Inputs
from mpcinfer.suites.entry import Entry, ErrorKind, SampleCost, StatedError, source_of, summary_of
from parties.meter import Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.plans import PLANS
from protocols.additive.registry import OPERATIONS, resolve
from protocols.arithmetic.operation import CausalProtocol, RangedProtocol, UnaryProtocol
from protocols.arithmetic.suite import Suite
from protocols.plan import Plan
from protocols.trust import Security


def crypten_entries(config: ModelConfig, tokens: int) -> list[Entry]:
    """Every protocol of the suite, in the registry's order, each counted in the plan `crypten`."""
    return [
        _entry(operation, name, registered, config, tokens)
        for operation, table in OPERATIONS.items()
        for name, registered in table.items()
    ]


def _entry(operation: str, name: str, registered: object, config: ModelConfig, tokens: int) -> Entry:
    plan = PLANS["crypten"].replace(**{operation: name})
    cost = _count(plan, operation, config, tokens)
    security = getattr(registered, "security", Security.SEMI_HONEST_DEALER)
    return Entry(
        suite="crypten",
        operation=operation,
        name=name,
        summary=summary_of(registered),
        security=security.value,
        cost=cost,
        error=_error(resolve(plan), operation),
        source=source_of(registered),
    )


def _count(plan: Plan, operation: str, config: ModelConfig, tokens: int) -> SampleCost:
    meter = Meter(timed=False)
    with torch.no_grad():
        executor = CountingArithmetic.of_plan(plan, meter)
        _, elements, element = SAMPLES[operation].run(executor, resolve(plan), config, tokens, Inputs())
    return SampleCost.of(meter.bill(), elements, element)


def _error(suite: Suite, operation: str) -> StatedError | None:
    if operation == "inverse_sqrt":
        protocol: RangedProtocol = suite.inverse_sqrt(*ROW_RANGE)
        return StatedError(protocol.max_rel_error, ErrorKind.RELATIVE)
    if operation == "power":
        return StatedError(suite.power(*POWER).max_abs_error)
    protocols: dict[str, UnaryProtocol | CausalProtocol] = {
        "softmax": suite.softmax,
        "gelu": suite.gelu,
        "silu": suite.silu,
        "relu": suite.relu,
    }
    return StatedError(protocols[operation].max_abs_error) if operation in protocols else None
