"""The suite `crypten`: every protocol by operation and name.

A new protocol is one class and one line here: from it follow the plan's choices, the tests and the tables of
costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from protocols.additive.plans import NAME
from protocols.additive.primitives import COMPARISON, LINEAR, TRUNCATION
from protocols.additive.stock import StockGelu, StockInverseSqrt, StockSilu, StockSoftmax
from protocols.arithmetic.gelu import FinePiecewiseGelu, PiecewiseGelu
from protocols.arithmetic.inverse_sqrt import RangeReducedInverseSqrt
from protocols.arithmetic.operation import CausalProtocol, UnaryProtocol
from protocols.arithmetic.polynomial_activations import (
    PolynomialGelu8,
    PolynomialGelu16,
    PolynomialGelu32,
    PolynomialRelu8,
    PolynomialRelu16,
    PolynomialRelu32,
    PolynomialSilu8,
    PolynomialSilu16,
    PolynomialSilu32,
)
from protocols.arithmetic.polynomial_inverse_sqrt import GoldschmidtInverseSqrt
from protocols.arithmetic.power_weights import GoldschmidtPower, SquaringPower
from protocols.arithmetic.relu import CompareRelu
from protocols.arithmetic.silu import PiecewiseSilu
from protocols.arithmetic.softmax import TreeSoftmax
from protocols.arithmetic.suite import InverseSqrtOfRange, PowerOfRange, Suite
from protocols.arithmetic.tanh import PiecewiseTanh
from protocols.plan import Plan, check_choices

SOFTMAX: dict[str, Callable[[], CausalProtocol]] = {"tree": TreeSoftmax, "stock": StockSoftmax}
GELU: dict[str, Callable[[], UnaryProtocol]] = {
    "piecewise": PiecewiseGelu,
    "fine": FinePiecewiseGelu,
    "stock": StockGelu,
    "polynomial8": PolynomialGelu8,
    "polynomial16": PolynomialGelu16,
    "polynomial32": PolynomialGelu32,
}
SILU: dict[str, Callable[[], UnaryProtocol]] = {
    "piecewise": PiecewiseSilu,
    "stock": StockSilu,
    "polynomial8": PolynomialSilu8,
    "polynomial16": PolynomialSilu16,
    "polynomial32": PolynomialSilu32,
}
RELU: dict[str, Callable[[], UnaryProtocol]] = {
    "compare": CompareRelu,
    "polynomial8": PolynomialRelu8,
    "polynomial16": PolynomialRelu16,
    "polynomial32": PolynomialRelu32,
}
POWER: dict[str, PowerOfRange] = {"squares": SquaringPower, "goldschmidt": GoldschmidtPower}
INVERSE_SQRT: dict[str, InverseSqrtOfRange] = {
    "octaves": RangeReducedInverseSqrt,
    "stock": StockInverseSqrt,
    "goldschmidt": GoldschmidtInverseSqrt,
}

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


FUNCTIONS = ("gelu", "silu", "relu", "inverse_sqrt", "power")
"""Operations that can be polynomial; of softmax no protocol is."""


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
    names = plan.choices
    return Suite(
        softmax=SOFTMAX[names["softmax"]](),
        gelu=GELU[names["gelu"]](),
        silu=SILU[names["silu"]](),
        relu=RELU[names["relu"]](),
        tanh=PiecewiseTanh(),
        inverse_sqrt=INVERSE_SQRT[names["inverse_sqrt"]],
        power=POWER[names["power"]],
        polynomial=is_polynomial(plan),
    )


def is_polynomial(plan: Plan) -> bool:
    """Whether every function of a plan is additions and products alone, truncation aside.

    Such a plan runs models without softmax attention, and names a softmax that nothing calls.
    """
    return all(
        getattr(OPERATIONS[operation].get(plan.choices[operation]), "polynomial", False)
        for operation in FUNCTIONS
    )
