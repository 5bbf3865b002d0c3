"""What the suite `fss` has registered, counted on a model's wires."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.entry import SAMPLE, Entry, ErrorKind, SampleCost, StatedError, source_of, summary_of
from mpcinfer.suites.fss.weights import matrices
from mpcinfer.suites.fss.widths import Widths
from mpcinfer.suites.fss.wires import (
    activation_wires,
    exponential_wires,
    inverse_root,
    power_wires,
    reciprocal,
    score_index_bits,
)
from parties.meter import Meter
from protocols.fss.activation_protocols import ActivationWires
from protocols.fss.counting_machine import Counting
from protocols.fss.exponential_protocols import ExponentialWires
from protocols.fss.gate import shape_only
from protocols.fss.octave_cells import Function
from protocols.fss.plans import FAITHFUL, PLANS, is_faithful
from protocols.fss.powers import PowerWires
from protocols.fss.protocol import FssProtocol
from protocols.fss.registry import OPERATIONS
from protocols.fss.registry import resolve as resolve_fss
from protocols.fss.rescale import narrow
from protocols.fss.suite import FssSuite, OctaveWires
from protocols.plan import Plan
from protocols.share import Held, Share

SAMPLE_POWER = 4


@dataclass(frozen=True, slots=True)
class Wires:
    """The wires of a model that samples lie on: those of its first layer.

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
        """Of causal rows."""
        return tuple(range(1, self.tokens + 1))

    @property
    def scores(self) -> tuple[int, int, int]:
        """Shape of packed causal scores."""
        return (1, self.config.heads, sum(self.lengths))

    def activation(self, operation: str, *, faithful: bool) -> ActivationWires:
        """Around an activation."""
        p, protocol = self.widths.precision, self.suite.activations[operation]
        return activation_wires(protocol, self.widths.ffn(0), p, p.activation, faithful=faithful)

    def exponential(self, *, faithful: bool) -> ExponentialWires:
        """Around exp."""
        attention, coarse = self.widths.attention(0), self.suite.maximum.coarse
        return exponential_wires(attention, self.widths.precision, coarse=coarse, faithful=faithful)

    @property
    def power(self) -> PowerWires:
        """Around the fourth power of scores, had the model power attention."""
        config = dataclasses.replace(self.config, attention="power", power=SAMPLE_POWER)
        widths = Widths(config, None, room=self.tokens)
        return power_wires(widths.attention(0), widths.precision, SAMPLE_POWER)

    def reciprocal(self, *, faithful: bool) -> tuple[Function, OctaveWires]:
        """Of a row's sum of powers."""
        return reciprocal(self.widths.attention(0), self.widths.precision, faithful=faithful)

    def inverse_root(self, *, faithful: bool) -> tuple[Function, OctaveWires]:
        """Of the first norm."""
        norm, p = self.widths.attention(0).norm, self.widths.precision
        width, eps = self.config.width, self.config.norm_eps
        return inverse_root(norm, p, width=width, eps=eps, faithful=faithful)


Run = Callable[[Counting, Wires], tuple[int, str]]
"""Computes a sample; how many elements it has, and what one is."""


def _truncation(machine: Counting, wires: Wires) -> tuple[int, str]:
    """From the residual to the norm's input."""
    p, widths, keep = wires.widths.precision, wires.widths, wires.widths.attention(0).norm.keep
    x = wires.masked((1, wires.tokens, wires.config.width), p.residual, widths.residual_bits)
    narrow(machine, (x, keep, widths.residual_bits - (p.residual - keep)))
    return math.prod(x.shape), "element"


def _embedding(machine: Counting, wires: Wires) -> tuple[int, str]:
    embedding, bits = wires.suite.embedding, wires.widths.embedding_bits
    table = matrices(wires.config, wires.widths, public_table=embedding.public_table)["embed.tokens"]
    tokens = embedding.tokens(machine, None, wires.tokens, wires.config.vocabulary, bits)
    embedding.rows(machine, tokens, table)
    return wires.tokens, "token"


def _activation(operation: str) -> Run:
    def run(machine: Counting, wires: Wires) -> tuple[int, str]:
        p, ffn = wires.widths.precision, wires.widths.ffn(0)
        x = wires.masked((1, wires.tokens, wires.config.hidden), p.activation, ffn.wire_bits)
        around = wires.activation(operation, faithful=machine.faithful)
        index = wires.masked(x.shape, around.index_frac, around.index_bits)
        wires.suite.activations[operation](machine, operation, around, x, index)
        return math.prod(x.shape), "element"

    return run


def _maximum(machine: Counting, wires: Wires) -> tuple[int, str]:
    p, attention, maximum = wires.widths.precision, wires.widths.attention(0), wires.suite.maximum
    frac_bits = -p.step if maximum.coarse else p.score
    x = wires.masked(wires.scores, frac_bits, score_index_bits(attention, frac_bits))
    maximum(machine, x, wires.lengths)
    return math.prod(x.shape), "score"


def _exponential(machine: Counting, wires: Wires) -> tuple[int, str]:
    around = wires.exponential(faithful=machine.faithful)
    index = wires.masked(wires.scores, around.index_frac, around.index_bits)
    wires.suite.exponential(machine, around, index)
    return math.prod(index.shape), "score"


def _power(machine: Counting, wires: Wires) -> tuple[int, str]:
    p, around = wires.widths.precision, wires.power
    x = wires.masked(wires.scores, p.query + p.key, around.integer_bits + p.query + p.key + 2)
    wires.suite.power(machine, around, x)
    return math.prod(x.shape), "score"


def _reciprocal(machine: Counting, wires: Wires) -> tuple[int, str]:
    p, attention = wires.widths.precision, wires.widths.attention(0)
    sums = wires.masked((1, wires.config.heads, wires.tokens, 1), p.power, attention.sum_bits)
    wires.suite.reciprocal(machine, *wires.reciprocal(faithful=machine.faithful), sums)
    return math.prod(sums.shape), "row"


def _inverse_sqrt(machine: Counting, wires: Wires) -> tuple[int, str]:
    norm = wires.widths.attention(0).norm
    squares = wires.masked((1, wires.tokens, 1), 2 * norm.keep, norm.square_bits)
    wires.suite.inverse_sqrt(machine, *wires.inverse_root(faithful=machine.faithful), squares)
    return wires.tokens, "row"


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


def wires_of(config: ModelConfig, tokens: int, plan: Plan) -> Wires:
    """The wires that a plan gives a model of a shape; `config` is folded."""
    widths = Widths(config, None, room=tokens, faithful=is_faithful(plan))
    return Wires(config, tokens, widths, resolve_fss(plan))


def fss_entries(config: ModelConfig, tokens: int) -> list[Entry]:
    """Every protocol of the suite, in the registry's order, each counted in the plan `fss`.

    Exact truncation in `fss-faithful`, which has what goes with it.
    """
    return [
        _entry(operation, name, config, tokens) for operation, table in OPERATIONS.items() for name in table
    ]


def _entry(operation: str, name: str, config: ModelConfig, tokens: int) -> Entry:
    plan = PLANS["fss-faithful" if name == FAITHFUL else "fss"].replace(**{operation: name})
    wires = wires_of(config, tokens, plan)
    meter = Meter(timed=False)
    machine = Counting(meter, faithful=is_faithful(plan))
    with meter.span(SAMPLE):
        elements, element = SAMPLES[operation](machine, wires)
    cost = SampleCost.of(meter.bill(), elements, element)
    protocol = _protocol(wires.suite, operation)
    own = [base for base in type(protocol).__mro__ if issubclass(base, FssProtocol)]
    documented = (*own, *protocol.based_on)
    return Entry(
        suite="fss",
        operation=operation,
        name=name,
        summary=summary_of(*documented),
        security=protocol.security.value,
        cost=cost,
        error=_error(wires, operation, faithful=is_faithful(plan)),
        source=source_of(*documented),
        reveals=protocol.reveals,
    )


def _protocol(suite: FssSuite, operation: str) -> FssProtocol:
    protocol = suite.activations[operation] if operation in suite.activations else getattr(suite, operation)
    assert isinstance(protocol, FssProtocol)
    return protocol


def _error(wires: Wires, operation: str, *, faithful: bool) -> StatedError:
    """What the protocol states, on these wires."""
    p, suite = wires.widths.precision, wires.suite
    if operation in suite.activations:
        around = wires.activation(operation, faithful=faithful)
        return StatedError(suite.activations[operation].max_abs_error(operation, around))
    relative = {
        "exponential": lambda: suite.exponential.max_rel_error(wires.exponential(faithful=faithful)),
        "reciprocal": lambda: suite.reciprocal.max_rel_error(1.0, wires.reciprocal(faithful=faithful)[1]),
        "inverse_sqrt": lambda: suite.inverse_sqrt.max_rel_error(
            0.5, wires.inverse_root(faithful=faithful)[1]
        ),
    }
    if operation in relative:
        return StatedError(relative[operation](), ErrorKind.RELATIVE)
    stated = {
        "truncation": lambda: StatedError(suite.truncation.max_units_off, ErrorKind.UNITS),
        "embedding": lambda: StatedError(0.0),
        "power": lambda: StatedError(suite.power.max_abs_error(wires.power, 1.0)),
        "maximum": lambda: StatedError(2.0**p.step if suite.maximum.coarse else 0.0),
    }
    return stated[operation]()
