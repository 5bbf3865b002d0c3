"""The suite `crypten`: every protocol by operation and name.

A new protocol is one class and one line here: from it follow the plan's choices, the tests and the tables of
costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from protocols.additive.gelu import FinePiecewiseGelu, PiecewiseGelu
from protocols.additive.inverse_sqrt import InverseSqrt, RangeReducedInverseSqrt
from protocols.additive.operation import CausalPowerProtocol, CausalProtocol, UnaryProtocol
from protocols.additive.plans import NAME
from protocols.additive.polynomial_activations import (
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
from protocols.additive.polynomial_inverse_sqrt import GoldschmidtInverseSqrt
from protocols.additive.power_weights import GoldschmidtPower, SquaringPower
from protocols.additive.primitives import COMPARISON, LINEAR, TRUNCATION
from protocols.additive.relu import CompareRelu
from protocols.additive.silu import PiecewiseSilu
from protocols.additive.softmax import TreeSoftmax
from protocols.additive.stock import StockGelu, StockInverseSqrt, StockSilu, StockSoftmax
from protocols.additive.tanh import PiecewiseTanh
from protocols.plan import Plan, check_choices

PowerOfRange = Callable[[int, float, float, float], CausalPowerProtocol]
InverseSqrtOfRange = Callable[[float, float], InverseSqrt]

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


@dataclass(frozen=True, slots=True)
class Suite:
    """The protocols of a plan, ready to be called.

    Attributes:
        softmax: `softmax(executor, scores, start, window, causal=causal)`.
        gelu, silu, relu: `gelu(executor, x)`; tanh likewise, which has one protocol in every plan.
        inverse_sqrt: `inverse_sqrt(low, high)` for a public range, then `(executor, x)` or `normalise`.
        power: `power(power, low, high, largest)` for public ranges, then `(executor, scores, start,
            epsilon)`.
        polynomial: as `is_polynomial`.
    """

    softmax: CausalProtocol
    gelu: UnaryProtocol
    silu: UnaryProtocol
    relu: UnaryProtocol
    tanh: UnaryProtocol
    inverse_sqrt: InverseSqrtOfRange
    power: PowerOfRange
    polynomial: bool = False


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
