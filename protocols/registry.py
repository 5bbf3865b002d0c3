"""Every protocol by operation and name, and the plans that come with the project.

A new protocol is one file and one line here: from it follow the plan's choices, the conformance tests and
the cost tables.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from parties.errors import ConfigError
from protocols.gelu import FinePiecewiseGelu, PiecewiseGelu
from protocols.inverse_sqrt import InverseSqrt, OctaveInverseSqrt
from protocols.operation import CausalProtocol, UnaryProtocol
from protocols.plan import COMPARISON, LINEAR, TRUNCATION, Plan
from protocols.relu import CompareRelu
from protocols.silu import PiecewiseSilu
from protocols.softmax import TreeSoftmax
from protocols.stock import StockGelu, StockInverseSqrt, StockSilu, StockSoftmax

InverseSqrtOfRange = Callable[[float, float], InverseSqrt]

SOFTMAX: dict[str, Callable[[], CausalProtocol]] = {"tree": TreeSoftmax, "stock": StockSoftmax}
GELU: dict[str, Callable[[], UnaryProtocol]] = {
    "piecewise": PiecewiseGelu,
    "fine": FinePiecewiseGelu,
    "stock": StockGelu,
}
SILU: dict[str, Callable[[], UnaryProtocol]] = {"piecewise": PiecewiseSilu, "stock": StockSilu}
RELU: dict[str, Callable[[], UnaryProtocol]] = {"compare": CompareRelu}
INVERSE_SQRT: dict[str, InverseSqrtOfRange] = {"octaves": OctaveInverseSqrt, "stock": StockInverseSqrt}

OPERATIONS: dict[str, Mapping[str, object]] = {
    "softmax": SOFTMAX,
    "gelu": GELU,
    "silu": SILU,
    "relu": RELU,
    "inverse_sqrt": INVERSE_SQRT,
}
"""Every operation's protocols by name; the operations are the fields of a plan."""

PLANS: dict[str, Plan] = {
    "crypten": Plan(name="crypten"),
    "crypten-stock": Plan(
        name="crypten-stock",
        linear="beaver",
        comparison="words",
        fold=False,
        softmax="stock",
        gelu="stock",
        silu="stock",
        inverse_sqrt="stock",
    ),
    "fss": Plan(name="fss", engine="fss"),
    "fss-faithful": Plan(name="fss-faithful", engine="fss", faithful=True),
}
"""`crypten` has our compositions on CrypTen's primitives; `crypten-stock` has the library's own, and opens
its weights on every call, as its users' code does."""


ENGINE_CHOICES = {"linear": LINEAR, "truncation": TRUNCATION, "comparison": COMPARISON}
"""How an engine computes its primitives, by the field of a plan."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A plan's protocols, ready to be called.

    Attributes:
        softmax: `softmax(engine, scores, start)`.
        gelu, silu, relu: `gelu(engine, x)`.
        inverse_sqrt: `inverse_sqrt(low, high)` for a public range, then `(engine, x)` or `normalise`.
    """

    softmax: CausalProtocol
    gelu: UnaryProtocol
    silu: UnaryProtocol
    relu: UnaryProtocol
    inverse_sqrt: InverseSqrtOfRange


def resolve(plan: Plan) -> Suite:
    """The protocols that a plan names.

    Raises:
        ConfigError: an operation has no protocol of that name; the message lists those it has.
    """
    for choice, known in ENGINE_CHOICES.items():
        _choose(choice, dict.fromkeys(known), getattr(plan, choice))
    return Suite(
        softmax=_choose("softmax", SOFTMAX, plan.softmax)(),
        gelu=_choose("gelu", GELU, plan.gelu)(),
        silu=_choose("silu", SILU, plan.silu)(),
        relu=_choose("relu", RELU, plan.relu)(),
        inverse_sqrt=_choose("inverse_sqrt", INVERSE_SQRT, plan.inverse_sqrt),
    )


def get_plan(name: str) -> Plan:
    """The preset of a name.

    Raises:
        ConfigError: there is none; the message has the nearest names.
    """
    if name in PLANS:
        return PLANS[name]
    raise ConfigError(f"no plan {name!r}; {_suggest(name, PLANS)}")


_Protocol = TypeVar("_Protocol")


def _choose(operation: str, protocols: Mapping[str, _Protocol], name: str) -> _Protocol:
    if name in protocols:
        return protocols[name]
    raise ConfigError(f"{operation} has no protocol {name!r}; {_suggest(name, protocols)}")


def _suggest(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    question = f"did you mean {near[0]!r}? " if near else ""
    return f"{question}there are {', '.join(sorted(known))}"
