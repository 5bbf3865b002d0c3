"""What a suite on additive shares has registered, counted on samples of a block's shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.arithmetic.samples import POWER, ROW_RANGE, SAMPLES, Inputs
from mpcinfer.suites.entry import Entry, ErrorKind, SampleCost, StatedError, source_of, summary_of
from parties.bill import Bill
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.operation import CausalProtocol, RangedProtocol, UnaryProtocol
from protocols.arithmetic.suite import Suite
from protocols.plan import Plan
from protocols.trust import Security

CountOn = Callable[[Plan, Callable[[Arithmetic], None]], Bill]
"""The bill of what is run on a suite's counting executor under a plan."""


def entries_of(
    plan: Plan,
    operations: Mapping[str, Mapping[str, object]],
    resolve: Callable[[Plan], Suite],
    count_on: CountOn,
    security: Security,
    config: ModelConfig,
    tokens: int,
) -> list[Entry]:
    """Every protocol of a suite, in the registry's order, each in its place in a plan.

    Args:
        security: of the suite's primitives, and of every protocol on them that says nothing else.
    """

    def entry(operation: str, name: str, registered: object) -> Entry:
        own = plan.replace(**{operation: name})
        suite = resolve(own)
        counted: list[tuple[int, str]] = []

        def run(executor: Arithmetic) -> None:
            _, elements, element = SAMPLES[operation].run(executor, suite, config, tokens, Inputs())
            counted.append((elements, element))

        with torch.no_grad():
            bill = count_on(own, run)
        cost = SampleCost.of(bill, *counted[0])
        return Entry(
            suite=plan.suite,
            operation=operation,
            name=name,
            summary=summary_of(registered),
            security=(getattr(registered, "security", None) or security).value,
            cost=cost,
            error=_error(suite, operation),
            source=source_of(registered),
        )

    return [
        entry(operation, name, registered)
        for operation, table in operations.items()
        for name, registered in table.items()
    ]


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
