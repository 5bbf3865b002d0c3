"""What the suite `fss` has registered, counted on a model's formats."""

from __future__ import annotations

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.entry import Entry, ErrorKind, SampleCost, StatedError, source_of, summary_of
from mpcinfer.suites.fss.samples import SAMPLES, Inputs, ModelFormats, formats_of
from parties.meter import Meter
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.operations.protocol import FssProtocol
from protocols.fss.operations.suite import FssSuite
from protocols.fss.plans import EXACT, PLANS, is_faithful
from protocols.fss.registry import OPERATIONS
from protocols.plan import Plan


def fss_entries(config: ModelConfig, tokens: int) -> list[Entry]:
    """Every protocol of the suite, in the registry's order, each counted in the plan `fss`.

    Exact truncation in `fss-faithful`, which has what goes with it.
    """
    return [
        _entry(operation, name, config, tokens) for operation, table in OPERATIONS.items() for name in table
    ]


def sample_plan(operation: str, name: str) -> Plan:
    """The plan in which a protocol is counted and measured."""
    return PLANS["fss-faithful" if name == EXACT else "fss"].replace(**{operation: name})


def _entry(operation: str, name: str, config: ModelConfig, tokens: int) -> Entry:
    plan = sample_plan(operation, name)
    formats = formats_of(config, tokens, plan)
    meter = Meter(timed=False)
    executor = Counting(meter, exact_truncation=is_faithful(plan))
    _, elements, element = SAMPLES[operation].run(executor, formats, Inputs())
    cost = SampleCost.of(meter.bill(), elements, element)
    protocol = _protocol(formats.suite, operation)
    own = [base for base in type(protocol).__mro__ if issubclass(base, FssProtocol)]
    documented = (*own, *protocol.based_on)
    return Entry(
        suite="fss",
        operation=operation,
        name=name,
        summary=summary_of(*documented),
        security=protocol.security.value,
        cost=cost,
        error=_error(formats, operation, exact_truncation=is_faithful(plan)),
        source=source_of(*documented),
        reveals=protocol.reveals,
    )


def _protocol(suite: FssSuite, operation: str) -> FssProtocol:
    protocol = suite.activations[operation] if operation in suite.activations else getattr(suite, operation)
    assert isinstance(protocol, FssProtocol)
    return protocol


def _error(formats: ModelFormats, operation: str, *, exact_truncation: bool) -> StatedError:
    """What the protocol states, in these formats."""
    p, suite = formats.widths.precision, formats.suite
    if operation in suite.activations:
        around = formats.activation(operation, exact_truncation=exact_truncation)
        return StatedError(suite.activations[operation].max_abs_error(operation, around))
    relative = {
        "exponential": lambda: suite.exponential.max_rel_error(
            formats.exponential(exact_truncation=exact_truncation)
        ),
        "reciprocal": lambda: suite.reciprocal.max_rel_error(
            1.0, formats.reciprocal(exact_truncation=exact_truncation)[1]
        ),
        "inverse_sqrt": lambda: suite.inverse_sqrt.max_rel_error(
            0.5, formats.inverse_root(exact_truncation=exact_truncation)[1]
        ),
    }
    if operation in relative:
        return StatedError(relative[operation](), ErrorKind.RELATIVE)
    stated = {
        "truncation": lambda: StatedError(suite.truncation.max_units_off, ErrorKind.UNITS),
        "linear": lambda: StatedError(0.0),
        "embedding": lambda: StatedError(0.0),
        "power": lambda: StatedError(suite.power.max_abs_error(formats.power, 1.0)),
        "maximum": lambda: StatedError(2.0**p.step if suite.maximum.coarse else 0.0),
    }
    return stated[operation]()
