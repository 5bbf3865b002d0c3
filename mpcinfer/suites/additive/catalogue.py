"""What the suite `crypten` has registered, counted on samples of a GPT-2 block's shape."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.entry import SAMPLE, Entry, ErrorKind, SampleCost, StatedError, source_of, summary_of
from parties.meter import Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.operation import CausalProtocol, RangedProtocol, UnaryProtocol
from protocols.additive.plans import PLANS
from protocols.additive.registry import OPERATIONS, Suite, resolve
from protocols.additive.shape_arithmetic import without_data
from protocols.plan import Plan
from protocols.trust import Security

LARGEST = 128.0
"""Bound on compared numbers."""
ROW_RANGE = (0.1, 150.0)
"""Range of the arguments of inverse square roots: the widest that all protocols allow."""

POWER = (4, 0.1, 100.0, 4.0)
"""Power, divisors and scores, as range training leaves them."""

Run = Callable[[CountingArithmetic, Suite, ModelConfig, int], tuple[int, str]]
"""Computes a sample; how many elements it has, and what one is."""


def _linear(executor: CountingArithmetic, suite: Suite, config: ModelConfig, tokens: int) -> tuple[int, str]:
    x = without_data((1, tokens, config.width), executor.frac_bits)
    weight = executor.weight("w", None, (config.width, config.width))
    with executor.meter.span(SAMPLE):
        executor.linear(x, weight)
    return tokens * config.width, "element"


def _truncation(
    executor: CountingArithmetic, suite: Suite, config: ModelConfig, tokens: int
) -> tuple[int, str]:
    x = without_data((1, tokens, config.width), 2 * executor.frac_bits)
    with executor.meter.span(SAMPLE):
        executor.truncate(x, executor.frac_bits)
    return math.prod(x.shape), "element"


def _comparison(
    executor: CountingArithmetic, suite: Suite, config: ModelConfig, tokens: int
) -> tuple[int, str]:
    x = without_data((1, tokens, config.width), executor.frac_bits)
    with executor.meter.span(SAMPLE):
        executor.less_than_zero(x, LARGEST)
    return math.prod(x.shape), "element"


def _softmax(executor: CountingArithmetic, suite: Suite, config: ModelConfig, tokens: int) -> tuple[int, str]:
    scores = without_data((1, config.heads, tokens, tokens), executor.frac_bits)
    with executor.meter.span(SAMPLE):
        suite.softmax(executor, scores, 0)
    return config.heads * tokens * (tokens + 1) // 2, "score"


def _unary(operation: str) -> Run:
    def run(executor: CountingArithmetic, suite: Suite, config: ModelConfig, tokens: int) -> tuple[int, str]:
        x = without_data((1, tokens, config.hidden), executor.frac_bits)
        with executor.meter.span(SAMPLE):
            getattr(suite, operation)(executor, x)
        return math.prod(x.shape), "element"

    return run


def _inverse_sqrt(
    executor: CountingArithmetic, suite: Suite, config: ModelConfig, tokens: int
) -> tuple[int, str]:
    x = without_data((1, tokens, 1), executor.frac_bits)
    with executor.meter.span(SAMPLE):
        suite.inverse_sqrt(*ROW_RANGE)(executor, x)
    return tokens, "row"


def _power(executor: CountingArithmetic, suite: Suite, config: ModelConfig, tokens: int) -> tuple[int, str]:
    scores = without_data((1, config.heads, tokens, tokens), executor.frac_bits)
    with executor.meter.span(SAMPLE):
        suite.power(*POWER)(executor, scores, 0, 0.1)
    return config.heads * tokens * (tokens + 1) // 2, "score"


SAMPLES: dict[str, Run] = {
    "linear": _linear,
    "truncation": _truncation,
    "comparison": _comparison,
    "softmax": _softmax,
    "gelu": _unary("gelu"),
    "silu": _unary("silu"),
    "relu": _unary("relu"),
    "inverse_sqrt": _inverse_sqrt,
    "power": _power,
}


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
        elements, element = SAMPLES[operation](
            CountingArithmetic.of_plan(plan, meter), resolve(plan), config, tokens
        )
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
