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
from protocols.fss.operations.suite import (
    EmbeddingProtocol,
    ExactTruncation,
    FssSuite,
    HistogramMaximum,
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
_LINES: dict[str, Callable[[], ActivationProtocol]] = {
    "lines": LinesActivation,
    "fine-lines": FineLinesActivation,
}
GELU: dict[str, Callable[[], ActivationProtocol]] = {**_LINES, **_LOOKUPS}
SILU: dict[str, Callable[[], ActivationProtocol]] = {**_LINES, **_LOOKUPS}
RELU: dict[str, Callable[[], ActivationProtocol]] = {**_LOOKUPS}
MAXIMUM: dict[str, Callable[[], MaximumProtocol]] = {"histogram": HistogramMaximum, "tree": TreeMaximum}
EXPONENTIAL: dict[str, Callable[[], ExponentialProtocol]] = {
    "split": SplitExponentialProtocol,
    "lookup": LookupExponential,
}
POWER: dict[str, Callable[[], PowerProtocol]] = {"squares": SquaringPower}
RANGE_REDUCTION: dict[str, Callable[[], RangeReductionProtocol]] = {"octaves": RangeReductionLookup}
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
    "embedding": EMBEDDING,
    "gelu": GELU,
    "silu": SILU,
    "relu": RELU,
    "maximum": MAXIMUM,
    "exponential": EXPONENTIAL,
    "power": POWER,
    "reciprocal": RANGE_REDUCTION,
    "inverse_sqrt": RANGE_REDUCTION,
}


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
        },
        cap=LookupCap() if is_faithful(plan) else LinesCap(),
        maximum=MAXIMUM[names["maximum"]](),
        exponential=EXPONENTIAL[names["exponential"]](),
        power=POWER[names["power"]](),
        reciprocal=RANGE_REDUCTION[names["reciprocal"]](),
        inverse_sqrt=RANGE_REDUCTION[names["inverse_sqrt"]](),
        embedding=EMBEDDING[names["embedding"]](),
        truncation=TRUNCATION[names["truncation"]](),
    )


def _exact_form(protocol: object) -> str:
    """What a protocol gives way to where truncation is exact; empty where it need not."""
    return getattr(protocol, "exact_form", "")
