"""Every protocol by operation and name, and the plans that come with the project.

A new protocol is one file and one line here: from it follow the plan's choices, the tests and the tables of
costs.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from parties.errors import ConfigError
from protocols.additive.gelu import FinePiecewiseGelu, PiecewiseGelu
from protocols.additive.inverse_sqrt import InverseSqrt, OctaveInverseSqrt
from protocols.additive.power_weights import SquaringPower as SquaringPowerWeights
from protocols.additive.relu import CompareRelu
from protocols.additive.silu import PiecewiseSilu
from protocols.additive.softmax import TreeSoftmax
from protocols.additive.stock import StockGelu, StockInverseSqrt, StockSilu, StockSoftmax
from protocols.fss.activations import (
    ActivationProtocol,
    FineLinesActivation,
    FineLookupActivation,
    LinesActivation,
    LookupActivation,
)
from protocols.fss.exponentials import ExponentialProtocol, LookupExponential, SplitExponentialProtocol
from protocols.fss.suite import (
    EmbeddingProtocol,
    ExactTruncation,
    FreeTruncation,
    FssSuite,
    HistogramMaximum,
    MaximumProtocol,
    OctaveLookup,
    OctaveProtocol,
    PowerProtocol,
    PrivateEmbedding,
    PublicEmbedding,
    SquaringPower,
    TreeMaximum,
    TruncationProtocol,
)
from protocols.operation import CausalPowerProtocol, CausalProtocol, UnaryProtocol
from protocols.plan import COMPARISON, FAITHFUL, FREE, LINEAR, TRUNCATION, Plan

PowerOfRange = Callable[[int, float, float, float], CausalPowerProtocol]
InverseSqrtOfRange = Callable[[float, float], InverseSqrt]

SOFTMAX: dict[str, Callable[[], CausalProtocol]] = {"tree": TreeSoftmax, "stock": StockSoftmax}
GELU: dict[str, Callable[[], UnaryProtocol]] = {
    "piecewise": PiecewiseGelu,
    "fine": FinePiecewiseGelu,
    "stock": StockGelu,
}
SILU: dict[str, Callable[[], UnaryProtocol]] = {"piecewise": PiecewiseSilu, "stock": StockSilu}
RELU: dict[str, Callable[[], UnaryProtocol]] = {"compare": CompareRelu}
POWER: dict[str, PowerOfRange] = {"squares": SquaringPowerWeights}
INVERSE_SQRT: dict[str, InverseSqrtOfRange] = {"octaves": OctaveInverseSqrt, "stock": StockInverseSqrt}

_FSS_LOOKUPS: dict[str, Callable[[], ActivationProtocol]] = {
    "lookup": LookupActivation,
    "fine": FineLookupActivation,
}
_FSS_LINES: dict[str, Callable[[], ActivationProtocol]] = {
    "lines": LinesActivation,
    "fine-lines": FineLinesActivation,
}
FSS_GELU: dict[str, Callable[[], ActivationProtocol]] = {**_FSS_LINES, **_FSS_LOOKUPS}
FSS_SILU: dict[str, Callable[[], ActivationProtocol]] = {**_FSS_LINES, **_FSS_LOOKUPS}
FSS_RELU: dict[str, Callable[[], ActivationProtocol]] = {**_FSS_LOOKUPS}
FSS_MAXIMUM: dict[str, Callable[[], MaximumProtocol]] = {"histogram": HistogramMaximum, "tree": TreeMaximum}
FSS_EXPONENTIAL: dict[str, Callable[[], ExponentialProtocol]] = {
    "split": SplitExponentialProtocol,
    "lookup": LookupExponential,
}
FSS_POWER: dict[str, Callable[[], PowerProtocol]] = {"squares": SquaringPower}
FSS_OCTAVES: dict[str, Callable[[], OctaveProtocol]] = {"octaves": OctaveLookup}
FSS_EMBEDDING: dict[str, Callable[[], EmbeddingProtocol]] = {
    "private": PrivateEmbedding,
    "public": PublicEmbedding,
}
FSS_TRUNCATION: dict[str, Callable[[], TruncationProtocol]] = {
    FREE: FreeTruncation,
    FAITHFUL: ExactTruncation,
}

ENGINES: dict[str, dict[str, Mapping[str, object]]] = {
    "crypten": {
        "linear": LINEAR,
        "truncation": TRUNCATION,
        "comparison": COMPARISON,
        "softmax": SOFTMAX,
        "gelu": GELU,
        "silu": SILU,
        "relu": RELU,
        "inverse_sqrt": INVERSE_SQRT,
        "power": POWER,
    },
    "fss": {
        "truncation": FSS_TRUNCATION,
        "embedding": FSS_EMBEDDING,
        "gelu": FSS_GELU,
        "silu": FSS_SILU,
        "relu": FSS_RELU,
        "maximum": FSS_MAXIMUM,
        "exponential": FSS_EXPONENTIAL,
        "power": FSS_POWER,
        "reciprocal": FSS_OCTAVES,
        "inverse_sqrt": FSS_OCTAVES,
    },
}
"""Every engine's operations, and their protocols by name; operations are fields of a plan."""

_FSS = Plan(
    name="fss",
    engine="fss",
    linear="",
    comparison="",
    softmax="",
    truncation=FREE,
    embedding="private",
    gelu="lines",
    silu="fine-lines",
    relu="lookup",
    maximum="histogram",
    exponential="split",
    power="squares",
    reciprocal="octaves",
    inverse_sqrt="octaves",
)

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
    "fss": _FSS,
    "fss-faithful": dataclasses.replace(
        _FSS,
        name="fss-faithful",
        truncation=FAITHFUL,
        gelu="lookup",
        silu="fine",
        exponential="lookup",
    ),
}
"""`crypten` has our compositions on CrypTen's primitives; `crypten-stock` has the library's own, and opens
its weights on every call, as its users' code does. `fss` is the suite of masked wires and function keys;
`fss-faithful` rounds as the fixed-point reference does, bit by bit."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The protocols of a plan of engine `crypten`, ready to be called.

    Attributes:
        softmax: `softmax(engine, scores, start)`.
        gelu, silu, relu: `gelu(engine, x)`.
        inverse_sqrt: `inverse_sqrt(low, high)` for a public range, then `(engine, x)` or `normalise`.
        power: `power(power, low, high, largest)` for public ranges, then `(engine, scores, start, epsilon)`.
    """

    softmax: CausalProtocol
    gelu: UnaryProtocol
    silu: UnaryProtocol
    relu: UnaryProtocol
    inverse_sqrt: InverseSqrtOfRange
    power: PowerOfRange


def check(plan: Plan) -> None:
    """That everything a plan names is registered.

    Raises:
        ConfigError: no such engine, an operation that the engine does not have, or an operation without a
            protocol of that name; the message lists those that there are. Or exact truncation, and a protocol
            that rounds by masks.
    """
    operations = ENGINES.get(plan.engine)
    if operations is None:
        raise ConfigError(f"no engine {plan.engine!r}; {_suggest(plan.engine, ENGINES)}")
    for operation, name in plan.choices.items():
        if operation not in operations:
            raise ConfigError(
                f"engine {plan.engine} has no {operation}; it has {', '.join(sorted(operations))}"
            )
        _choose(operation, operations[operation], name)
        if plan.faithful and (exact := _exact_form(operations[operation][name])):
            raise ConfigError(
                f"{operation}={name} rounds by masks: "
                f"with truncation={plan.truncation} take {operation}={exact}"
            )
    missing = sorted(set(operations) - set(plan.choices))
    if missing:
        raise ConfigError(f"plan {plan.name} names no protocol for {', '.join(missing)}")


def truncating(plan: Plan, *, exactly: bool) -> Plan:
    """A plan of the engine `fss` with exact or with free truncation, and protocols that go with it.

    Raises:
        ConfigError: as `check`.
    """
    if not exactly:
        return plan.replace(truncation=FREE)
    protocols = {operation: ENGINES["fss"][operation][name] for operation, name in plan.choices.items()}
    exact = {operation: form for operation, each in protocols.items() if (form := _exact_form(each))}
    return plan.replace(truncation=FAITHFUL, **exact)


def resolve(plan: Plan) -> Suite:
    """The protocols that a plan of engine `crypten` names.

    Raises:
        ConfigError: it is a plan of another engine, or as `check`.
    """
    _require_engine(plan, "crypten")
    return Suite(
        softmax=SOFTMAX[plan.softmax](),
        gelu=GELU[plan.gelu](),
        silu=SILU[plan.silu](),
        relu=RELU[plan.relu](),
        inverse_sqrt=INVERSE_SQRT[plan.inverse_sqrt],
        power=POWER[plan.power],
    )


def resolve_fss(plan: Plan) -> FssSuite:
    """The protocols that a plan of engine `fss` names.

    Raises:
        ConfigError: it is a plan of another engine, or as `check`.
    """
    _require_engine(plan, "fss")
    gelu = FSS_GELU[plan.gelu]()
    return FssSuite(
        activations={
            "gelu": gelu,
            "gelu_tanh": gelu,
            "silu": FSS_SILU[plan.silu](),
            "relu": FSS_RELU[plan.relu](),
        },
        maximum=FSS_MAXIMUM[plan.maximum](),
        exponential=FSS_EXPONENTIAL[plan.exponential](),
        power=FSS_POWER[plan.power](),
        reciprocal=FSS_OCTAVES[plan.reciprocal](),
        inverse_sqrt=FSS_OCTAVES[plan.inverse_sqrt](),
        embedding=FSS_EMBEDDING[plan.embedding](),
        truncation=FSS_TRUNCATION[plan.truncation](),
    )


def disclosures(plan: Plan) -> list[str]:
    """What the plan's choices give away beyond what every run does: a sentence each.

    Raises:
        ConfigError: as `check`.
    """
    check(plan)
    said: list[str] = []
    for operation, name in plan.choices.items():
        reveals = getattr(ENGINES[plan.engine][operation][name], "reveals", "")
        if reveals:
            said.append(f"{operation}={name} {reveals}")
    return said


def get_plan(name: str) -> Plan:
    """The preset of a name.

    Raises:
        ConfigError: there is none; the message has the nearest names.
    """
    if name in PLANS:
        return PLANS[name]
    raise ConfigError(f"no plan {name!r}; {_suggest(name, PLANS)}")


def _exact_form(protocol: object) -> str:
    """What a protocol gives way to where truncation is exact; empty where it need not."""
    return getattr(protocol, "exact_form", "")


def _require_engine(plan: Plan, engine: str) -> None:
    check(plan)
    if plan.engine != engine:
        raise ConfigError(f"plan {plan.name} is for engine {plan.engine}, not {engine}")


_Protocol = TypeVar("_Protocol")


def _choose(operation: str, protocols: Mapping[str, _Protocol], name: str) -> _Protocol:
    if name in protocols:
        return protocols[name]
    raise ConfigError(f"{operation} has no protocol {name!r}; {_suggest(name, protocols)}")


def _suggest(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    question = f"did you mean {near[0]!r}? " if near else ""
    return f"{question}there are {', '.join(sorted(known))}"
