"""The suite `two-party`: every protocol by operation and name."""

from __future__ import annotations

from collections.abc import Mapping

from protocols.arithmetic import functions
from protocols.arithmetic.suite import Suite
from protocols.plan import Plan, check_choices
from protocols.two_party.lines import LineGelu, LineSilu, LineSoftmax
from protocols.two_party.octaves import LineInverseSqrt
from protocols.two_party.plans import NAME
from protocols.two_party.primitives import COMPARISON, LINEAR, PRODUCTS, TRUNCATION

OPERATIONS: dict[str, Mapping[str, object]] = {
    "linear": LINEAR,
    "products": PRODUCTS,
    "truncation": TRUNCATION,
    "comparison": COMPARISON,
    **functions.FUNCTIONS,
    "softmax": {**functions.SOFTMAX, "lines": LineSoftmax},
    "gelu": {**functions.GELU, "lines": LineGelu},
    "inverse_sqrt": {**functions.INVERSE_SQRT, "lines": LineInverseSqrt},
    "silu": {**functions.SILU, "lines": LineSilu},
}


def check(plan: Plan) -> None:
    """Checks that a plan of this suite names registered protocols; any of them go together.

    Raises:
        ConfigError: it does not; see `check_choices`.
    """
    check_choices(plan, NAME, OPERATIONS)


def resolve(plan: Plan) -> Suite:
    """The protocols that a plan of this suite names; errors as `check`."""
    check(plan)
    return functions.suite_of(plan.choices, OPERATIONS)


def is_polynomial(plan: Plan) -> bool:
    """See `protocols.arithmetic.functions.are_polynomial`."""
    return functions.are_polynomial(plan.choices, OPERATIONS)
