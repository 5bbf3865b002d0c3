"""The suite `fss`: every protocol by operation and name.

A new protocol is one class and one line here: from it follow the plan's choices, the tests and the tables of
costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from parties.errors import ConfigError
from protocols.fss.operations.activation_protocols import (
    ActivationProtocol,
    FineLinesActivation,
    FineLookupActivation,
    LinesActivation,
    LookupActivation,
    LookupTanh,
)
from protocols.fss.operations.cap_protocols import LinesCap, LookupCap
from protocols.fss.operations.exponential_protocols import (
    ExponentialProtocol,
    LookupExponential,
    SplitExponentialProtocol,
)
from protocols.fss.operations.polynomial_activations import (
    PolynomialActivation8,
    PolynomialActivation16,
    PolynomialActivation32,
)
from protocols.fss.operations.polynomial_inverses import PolynomialInverseSqrt, PolynomialReciprocal
from protocols.fss.operations.suite import (
    DealtLinear,
    EmbeddingProtocol,
    EncryptedLinear,
    ExactTruncation,
    FssSuite,
    HistogramMaximum,
    LinearProtocol,
    MaximumProtocol,
    PowerProtocol,
    PrivateEmbedding,
    ProbabilisticTruncation,
    PublicEmbedding,
    RangeReductionLookup,
    RangeReductionProtocol,
    SquaringPower,
    TreeMaximum,
    TruncationProtocol,
)
from protocols.fss.plans import EXACT, NAME, PROBABILISTIC, is_faithful
from protocols.plan import Plan, check_choices

_LOOKUPS: dict[str, Callable[[], ActivationProtocol]] = {
    "lookup": LookupActivation,
    "fine": FineLookupActivation,
}
_POLYNOMIALS: dict[str, Callable[[], ActivationProtocol]] = {
    "polynomial8": PolynomialActivation8,
    "polynomial16": PolynomialActivation16,
    "polynomial32": PolynomialActivation32,
}
_LINES: dict[str, Callable[[], ActivationProtocol]] = {
    "lines": LinesActivation,
    "fine-lines": FineLinesActivation,
}
GELU: dict[str, Callable[[], ActivationProtocol]] = {**_LINES, **_LOOKUPS, **_POLYNOMIALS}
SILU: dict[str, Callable[[], ActivationProtocol]] = {**_LINES, **_LOOKUPS, **_POLYNOMIALS}
RELU: dict[str, Callable[[], ActivationProtocol]] = {**_LOOKUPS, **_POLYNOMIALS}
MAXIMUM: dict[str, Callable[[], MaximumProtocol]] = {"histogram": HistogramMaximum, "tree": TreeMaximum}
EXPONENTIAL: dict[str, Callable[[], ExponentialProtocol]] = {
    "split": SplitExponentialProtocol,
    "lookup": LookupExponential,
}
POWER: dict[str, Callable[[], PowerProtocol]] = {"squares": SquaringPower}
RECIPROCAL: dict[str, Callable[[], RangeReductionProtocol]] = {
    "octaves": RangeReductionLookup,
    "goldschmidt": PolynomialReciprocal,
}
INVERSE_SQRT: dict[str, Callable[[], RangeReductionProtocol]] = {
    "octaves": RangeReductionLookup,
    "goldschmidt": PolynomialInverseSqrt,
}
LINEAR: dict[str, Callable[[], LinearProtocol]] = {"dealt": DealtLinear, "rlwe": EncryptedLinear}
EMBEDDING: dict[str, Callable[[], EmbeddingProtocol]] = {
    "private": PrivateEmbedding,
    "public": PublicEmbedding,
}
TRUNCATION: dict[str, Callable[[], TruncationProtocol]] = {
    PROBABILISTIC: ProbabilisticTruncation,
    EXACT: ExactTruncation,
}

OPERATIONS: dict[str, Mapping[str, object]] = {
    "truncation": TRUNCATION,
    "linear": LINEAR,
    "embedding": EMBEDDING,
    "gelu": GELU,
    "silu": SILU,
    "relu": RELU,
    "maximum": MAXIMUM,
    "exponential": EXPONENTIAL,
    "power": POWER,
    "reciprocal": RECIPROCAL,
    "inverse_sqrt": INVERSE_SQRT,
}

FUNCTIONS = ("gelu", "silu", "relu", "power", "reciprocal", "inverse_sqrt")
"""Operations that can be polynomial; a maximum and an exponential cannot."""


def check(plan: Plan) -> None:
    """Checks that a plan of this suite names registered protocols, and that they go together.

    Raises:
        ConfigError: it does not; see `check_choices`. Or exact truncation, and what rounds by masks.
    """
    check_choices(plan, NAME, OPERATIONS)
    if not is_faithful(plan):
        return
    for operation, name in plan.choices.items():
        if exact := _exact_form(OPERATIONS[operation][name]):
            truncation = plan.choices["truncation"]
            raise ConfigError(
                f"{operation}={name} rounds by masks: with truncation={truncation} take {operation}={exact}"
            )


def truncating(plan: Plan, *, exactly: bool) -> Plan:
    """A plan of this suite with exact or with probabilistic truncation, and protocols that go with it."""
    if not exactly:
        return plan.replace(truncation=PROBABILISTIC)
    protocols = {operation: OPERATIONS[operation][name] for operation, name in plan.choices.items()}
    exact = {operation: form for operation, each in protocols.items() if (form := _exact_form(each))}
    return plan.replace(truncation=EXACT, **exact)


def resolve(plan: Plan) -> FssSuite:
    """The protocols that a plan of this suite names.

    Raises:
        ConfigError: as `check`.
    """
    check(plan)
    names = plan.choices
    gelu = GELU[names["gelu"]]()
    return FssSuite(
        activations={
            "gelu": gelu,
            "gelu_tanh": gelu,
            "silu": SILU[names["silu"]](),
            "relu": RELU[names["relu"]](),
            "tanh": LookupTanh(),
            "erf": LookupTanh(),
        },
        cap=LookupCap() if is_faithful(plan) else LinesCap(),
        maximum=MAXIMUM[names["maximum"]](),
        exponential=EXPONENTIAL[names["exponential"]](),
        power=POWER[names["power"]](),
        reciprocal=RECIPROCAL[names["reciprocal"]](),
        inverse_sqrt=INVERSE_SQRT[names["inverse_sqrt"]](),
        linear=LINEAR[names["linear"]](),
        embedding=EMBEDDING[names["embedding"]](),
        truncation=TRUNCATION[names["truncation"]](),
        polynomial=_all_polynomial(plan),
    )


def is_polynomial(plan: Plan) -> bool:
    """Whether all that a plan computes of a model without softmax is additions and products alone.

    Truncation is by shifts of value and mask, without a function key. A maximum and an exponential are named
    that nothing calls.
    """
    return not is_faithful(plan) and _all_polynomial(plan)


def has_polynomials(plan: Plan) -> bool:
    """Whether a plan has a polynomial for a function that other plans look up."""
    return any(_polynomial(plan, operation) for operation in FUNCTIONS if operation != "power")


def _all_polynomial(plan: Plan) -> bool:
    return all(_polynomial(plan, operation) for operation in FUNCTIONS)


def _polynomial(plan: Plan, operation: str) -> bool:
    return getattr(OPERATIONS[operation].get(plan.choices[operation]), "polynomial", False)


def _exact_form(protocol: object) -> str:
    """What a protocol gives way to where truncation is exact; empty where it need not."""
    return getattr(protocol, "exact_form", "")
