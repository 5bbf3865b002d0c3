"""What the suite `fss` has registered, counted on a model's formats."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.entry import SAMPLE, Entry, ErrorKind, SampleCost, StatedError, source_of, summary_of
from mpcinfer.suites.fss.formats import (
    activation_formats,
    exponential_formats,
    inverse_root,
    power_formats,
    reciprocal,
    score_index_bits,
)
from mpcinfer.suites.fss.weights import matrices
from mpcinfer.suites.fss.widths import Widths
from parties.meter import Meter
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.gate import shape_only
from protocols.fss.operations.activation_protocols import ActivationFormats
from protocols.fss.operations.exponential_protocols import ExponentialFormats
from protocols.fss.operations.powers import PowerFormats
from protocols.fss.operations.protocol import FssProtocol
from protocols.fss.operations.rescale import narrow
from protocols.fss.operations.suite import FssSuite, RangeReductionFormats
from protocols.fss.plans import EXACT, PLANS, is_faithful
from protocols.fss.registry import OPERATIONS
from protocols.fss.registry import resolve as resolve_fss
from protocols.fss.tables.binade_cells import Function
from protocols.plan import Plan
from protocols.share import Held, Share

SAMPLE_POWER = 4


@dataclass(frozen=True, slots=True)
class ModelFormats:
    """The fixed-point formats of a model that samples have: those of its first layer.

    Attributes:
        config: norms folded.
        tokens: of one pass from the start.
    """

    config: ModelConfig
    tokens: int
    widths: Widths
    suite: FssSuite

    def masked(self, shape: tuple[int, ...], frac_bits: int, ring_bits: int) -> Share:
        """A masked value without data."""
        return shape_only(shape, frac_bits, ring_bits, Held.MASKED)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of causal rows."""
        return tuple(range(1, self.tokens + 1))

    @property
    def scores(self) -> tuple[int, int, int]:
        """Shape of packed causal scores."""
        return (1, self.config.heads, sum(self.lengths))

    def activation(self, operation: str, *, exact_truncation: bool) -> ActivationFormats:
        """Around an activation."""
        p, protocol = self.widths.precision, self.suite.activations[operation]
        return activation_formats(
            protocol, self.widths.ffn(0), p, p.activation, exact_truncation=exact_truncation
        )

    def exponential(self, *, exact_truncation: bool) -> ExponentialFormats:
        """Around exp."""
        attention, coarse = self.widths.attention(0), self.suite.maximum.coarse
        return exponential_formats(
            attention, self.widths.precision, coarse=coarse, exact_truncation=exact_truncation
        )

    @property
    def power(self) -> PowerFormats:
        """Around the fourth power of scores, had the model power attention."""
        config = dataclasses.replace(self.config, attention="power", power=SAMPLE_POWER)
        widths = Widths(config, None, max_context=self.tokens)
        return power_formats(widths.attention(0), widths.precision, SAMPLE_POWER)

    def reciprocal(self, *, exact_truncation: bool) -> tuple[Function, RangeReductionFormats]:
        """Function and format of the reciprocal of a row's sum of powers."""
        return reciprocal(self.widths.attention(0), self.widths.precision, exact_truncation=exact_truncation)

    def inverse_root(self, *, exact_truncation: bool) -> tuple[Function, RangeReductionFormats]:
        """Function and format of the first norm's inverse square root."""
        norm, p = self.widths.attention(0).norm, self.widths.precision
        width, eps = self.config.width, self.config.norm_eps
        return inverse_root(norm, p, width=width, eps=eps, exact_truncation=exact_truncation)


Run = Callable[[Counting, ModelFormats], tuple[int, str]]
"""Computes a sample; how many elements it has, and what one is."""


def _truncation(executor: Counting, formats: ModelFormats) -> tuple[int, str]:
    """From the residual to the norm's input."""
    p, widths, input_frac = (
        formats.widths.precision,
        formats.widths,
        formats.widths.attention(0).norm.input_frac,
    )
    x = formats.masked((1, formats.tokens, formats.config.width), p.residual, widths.residual_bits)
    narrow(executor, (x, input_frac, widths.residual_bits - (p.residual - input_frac)))
    return math.prod(x.shape), "element"


def _embedding(executor: Counting, formats: ModelFormats) -> tuple[int, str]:
    embedding, bits = formats.suite.embedding, formats.widths.embedding_bits
    table = matrices(formats.config, formats.widths, public_table=embedding.public_table)["embed.tokens"]
    tokens = embedding.tokens(executor, None, formats.tokens, formats.config.vocabulary, bits)
    embedding.rows(executor, tokens, table)
    return formats.tokens, "token"


def _activation(operation: str) -> Run:
    def run(executor: Counting, formats: ModelFormats) -> tuple[int, str]:
        p, ffn = formats.widths.precision, formats.widths.ffn(0)
        x = formats.masked((1, formats.tokens, formats.config.hidden), p.activation, ffn.preactivation_bits)
        around = formats.activation(operation, exact_truncation=executor.exact_truncation)
        index = formats.masked(x.shape, around.index_frac, around.index_bits)
        formats.suite.activations[operation](executor, operation, around, x, index)
        return math.prod(x.shape), "element"

    return run


def _maximum(executor: Counting, formats: ModelFormats) -> tuple[int, str]:
    p, attention, maximum = formats.widths.precision, formats.widths.attention(0), formats.suite.maximum
    frac_bits = -p.step if maximum.coarse else p.score
    x = formats.masked(formats.scores, frac_bits, score_index_bits(attention, frac_bits))
    maximum(executor, x, formats.lengths)
    return math.prod(x.shape), "score"


def _exponential(executor: Counting, formats: ModelFormats) -> tuple[int, str]:
    around = formats.exponential(exact_truncation=executor.exact_truncation)
    index = formats.masked(formats.scores, around.index_frac, around.index_bits)
    formats.suite.exponential(executor, around, index)
    return math.prod(index.shape), "score"


def _power(executor: Counting, formats: ModelFormats) -> tuple[int, str]:
    p, around = formats.widths.precision, formats.power
    x = formats.masked(formats.scores, p.query + p.key, around.integer_bits + p.query + p.key + 2)
    formats.suite.power(executor, around, x)
    return math.prod(x.shape), "score"


def _reciprocal(executor: Counting, formats: ModelFormats) -> tuple[int, str]:
    p, attention = formats.widths.precision, formats.widths.attention(0)
    sums = formats.masked((1, formats.config.heads, formats.tokens, 1), p.power, attention.sum_bits)
    formats.suite.reciprocal(executor, *formats.reciprocal(exact_truncation=executor.exact_truncation), sums)
    return math.prod(sums.shape), "row"


def _inverse_sqrt(executor: Counting, formats: ModelFormats) -> tuple[int, str]:
    norm = formats.widths.attention(0).norm
    squares = formats.masked((1, formats.tokens, 1), 2 * norm.input_frac, norm.square_bits)
    formats.suite.inverse_sqrt(
        executor, *formats.inverse_root(exact_truncation=executor.exact_truncation), squares
    )
    return formats.tokens, "row"


SAMPLES: dict[str, Run] = {
    "truncation": _truncation,
    "embedding": _embedding,
    "gelu": _activation("gelu"),
    "silu": _activation("silu"),
    "relu": _activation("relu"),
    "maximum": _maximum,
    "exponential": _exponential,
    "power": _power,
    "reciprocal": _reciprocal,
    "inverse_sqrt": _inverse_sqrt,
}


def formats_of(config: ModelConfig, tokens: int, plan: Plan) -> ModelFormats:
    """The fixed-point formats that a plan gives a model of a shape; `config` is folded."""
    widths = Widths(config, None, max_context=tokens, exact_truncation=is_faithful(plan))
    return ModelFormats(config, tokens, widths, resolve_fss(plan))


def fss_entries(config: ModelConfig, tokens: int) -> list[Entry]:
    """Every protocol of the suite, in the registry's order, each counted in the plan `fss`.

    Exact truncation in `fss-faithful`, which has what goes with it.
    """
    return [
        _entry(operation, name, config, tokens) for operation, table in OPERATIONS.items() for name in table
    ]


def _entry(operation: str, name: str, config: ModelConfig, tokens: int) -> Entry:
    plan = PLANS["fss-faithful" if name == EXACT else "fss"].replace(**{operation: name})
    formats = formats_of(config, tokens, plan)
    meter = Meter(timed=False)
    executor = Counting(meter, exact_truncation=is_faithful(plan))
    with meter.span(SAMPLE):
        elements, element = SAMPLES[operation](executor, formats)
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
        "embedding": lambda: StatedError(0.0),
        "power": lambda: StatedError(suite.power.max_abs_error(formats.power, 1.0)),
        "maximum": lambda: StatedError(2.0**p.step if suite.maximum.coarse else 0.0),
    }
    return stated[operation]()
