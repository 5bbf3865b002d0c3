"""The suite `crypten`: every protocol by operation and name.

A new protocol is one class and one line here, or in `protocols.arithmetic.functions` where it holds on any
additive shares: from it follow the plan's choices, the tests and the tables of costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from protocols.additive.plans import NAME
from protocols.additive.primitives import COMPARISON, LINEAR, TRUNCATION
from protocols.additive.stock import StockGelu, StockInverseSqrt, StockSilu, StockSoftmax
from protocols.arithmetic import functions
from protocols.arithmetic.operation import CausalProtocol, UnaryProtocol
from protocols.arithmetic.suite import InverseSqrtOfRange, Suite
from protocols.plan import Plan, check_choices

SOFTMAX: dict[str, Callable[[], CausalProtocol]] = {**functions.SOFTMAX, "stock": StockSoftmax}
GELU: dict[str, Callable[[], UnaryProtocol]] = {**functions.GELU, "stock": StockGelu}
SILU: dict[str, Callable[[], UnaryProtocol]] = {**functions.SILU, "stock": StockSilu}
RELU = functions.RELU
INVERSE_SQRT: dict[str, InverseSqrtOfRange] = {**functions.INVERSE_SQRT, "stock": StockInverseSqrt}
POWER = functions.POWER

OPERATIONS: dict[str, Mapping[str, object]] = {
    "linear": LINEAR,
    "truncation": TRUNCATION,
    "comparison": COMPARISON,
    "softmax": SOFTMAX,
    "gelu": GELU,
    "silu": SILU,
    "relu": RELU,
    "inverse_sqrt": INVERSE_SQRT,
    "power": POWER,
}


def check(plan: Plan) -> None:
    """Checks that a plan of this suite names registered protocols; any of them go together.

    Raises:
        ConfigError: it does not; see `check_choices`.
    """
    check_choices(plan, NAME, OPERATIONS)


def resolve(plan: Plan) -> Suite:
    """The protocols that a plan of this suite names.

    Raises:
        ConfigError: as `check`.
    """
    check(plan)
    return functions.suite_of(plan.choices, OPERATIONS)


def is_polynomial(plan: Plan) -> bool:
    """See `protocols.arithmetic.functions.are_polynomial`."""
    return functions.are_polynomial(plan.choices, OPERATIONS)
