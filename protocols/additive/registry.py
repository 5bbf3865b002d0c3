"""The suite `crypten`: every protocol by operation and name.

A new protocol is one class and one line here, or in `protocols.arithmetic.functions` where it holds on any
additive shares: from it follow the plan's choices, the tests and the tables of costs.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocols.additive.plans import NAME
from protocols.additive.primitives import COMPARISON, LINEAR, TRUNCATION
from protocols.additive.stock import StockGelu, StockInverseSqrt, StockSilu, StockSoftmax
from protocols.arithmetic import functions
from protocols.arithmetic.suite import Suite
from protocols.plan import Plan, check_choices

_STOCK: dict[str, Mapping[str, object]] = {
    "softmax": {"stock": StockSoftmax},
    "gelu": {"stock": StockGelu},
    "silu": {"stock": StockSilu},
    "inverse_sqrt": {"stock": StockInverseSqrt},
}
OPERATIONS: dict[str, Mapping[str, object]] = {
    "linear": LINEAR,
    "truncation": TRUNCATION,
    "comparison": COMPARISON,
    **{name: {**table, **_STOCK.get(name, {})} for name, table in functions.FUNCTIONS.items()},
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
