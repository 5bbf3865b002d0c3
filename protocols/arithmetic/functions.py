"""The functions that suites on additive shares have in common, by operation and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
from protocols.arithmetic.tanh import PiecewiseErf, PiecewiseTanh

SOFTMAX: dict[str, Callable[[], CausalProtocol]] = {"tree": TreeSoftmax}
GELU: dict[str, Callable[[], UnaryProtocol]] = {
    "piecewise": PiecewiseGelu,
    "fine": FinePiecewiseGelu,
    "polynomial8": PolynomialGelu8,
    "polynomial16": PolynomialGelu16,
    "polynomial32": PolynomialGelu32,
}
SILU: dict[str, Callable[[], UnaryProtocol]] = {
    "piecewise": PiecewiseSilu,
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
    "goldschmidt": GoldschmidtInverseSqrt,
}


Functions = Mapping[str, Mapping[str, object]]

FUNCTIONS: dict[str, Mapping[str, object]] = {
    "softmax": SOFTMAX,
    "gelu": GELU,
    "silu": SILU,
    "relu": RELU,
    "inverse_sqrt": INVERSE_SQRT,
    "power": POWER,
}
_CAN_BE_POLYNOMIAL = ("gelu", "silu", "relu", "inverse_sqrt", "power")
"""Of softmax no protocol is."""


def are_polynomial(names: Mapping[str, str], functions: Functions) -> bool:
    """Whether every function of those names is additions and products alone, truncation aside.

    A plan of such runs models without softmax attention, and names a softmax that nothing calls.
    """
    return all(
        getattr(functions[operation].get(names[operation]), "polynomial", False)
        for operation in _CAN_BE_POLYNOMIAL
    )


def suite_of(names: Mapping[str, str], functions: Any) -> Suite:
    """The functions of those names, out of a suite's tables."""
    softmax = functions["softmax"][names["softmax"]]()
    return Suite(
        softmax=softmax,
        exponential=softmax.exponential,
        gelu=functions["gelu"][names["gelu"]](),
        silu=functions["silu"][names["silu"]](),
        relu=functions["relu"][names["relu"]](),
        tanh=PiecewiseTanh(),
        erf=PiecewiseErf(),
        inverse_sqrt=functions["inverse_sqrt"][names["inverse_sqrt"]],
        power=functions["power"][names["power"]],
        polynomial=are_polynomial(names, functions),
    )
