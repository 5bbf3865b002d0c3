"""The sample of each operation of the suite `fss`: what the catalogue counts and benchmarks run.

A sample brings its inputs in and prepares them outside of the span `SAMPLE`; what is inside of it is the
protocol alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.entry import SAMPLE
from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.formats import (
    activation_formats,
    exponential_formats,
    inverse_root,
    power_formats,
    reciprocal,
    score_index_bits,
)
from mpcinfer.suites.fss.weights import Sharing, matrices
from mpcinfer.suites.fss.widths import Widths
from mpcinfer.suites.task import Draw, log_uniform, normal
from parties.meter import CLIENT, SERVER
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import shape_only
from protocols.fss.gates.linear import Linear, ToServerHeld
from protocols.fss.gates.opening import Open
from protocols.fss.operations.activation_protocols import ActivationFormats
from protocols.fss.operations.exponential_protocols import ExponentialFormats
from protocols.fss.operations.powers import PowerFormats
from protocols.fss.operations.rescale import narrow
from protocols.fss.operations.suite import FssSuite, RangeReductionFormats
from protocols.fss.plans import is_faithful
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.registry import has_polynomials
from protocols.fss.registry import resolve as resolve_fss
from protocols.fss.tables.binade_cells import Function
from protocols.plan import Plan
from protocols.share import Held, Share

SAMPLE_POWER, SAMPLE_EPSILON = 4, 0.1
EMBEDDING, LAYER = ("embed.tokens",), ("layer0.ffn.in.weight",)
INPUT = "input"
"""The label under which inputs are brought in and prepared."""


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
        return power_formats(
            self._powered(self.config.attention_epsilon), self.widths.precision, SAMPLE_POWER
        )

    def _powered(self, epsilon: float) -> AttentionWidths:
        """The first layer's, had the model power attention."""
        config = dataclasses.replace(
            self.config, attention="power", power=SAMPLE_POWER, attention_epsilon=epsilon
        )
        return Widths(config, None, max_context=self.tokens).attention(0)

    @property
    def dividing(self) -> AttentionWidths:
        """The first layer's, whose rows are divided; of power attention where that is by a polynomial."""
        polynomial = self.suite.reciprocal.polynomial
        return self._powered(SAMPLE_EPSILON) if polynomial else self.widths.attention(0)

    def reciprocal(self, *, exact_truncation: bool) -> tuple[Function, RangeReductionFormats]:
        """Function and format of the reciprocal of a row's sum of powers."""
        return reciprocal(self.dividing, self.widths.precision, exact_truncation=exact_truncation)

    def inverse_root(self, *, exact_truncation: bool) -> tuple[Function, RangeReductionFormats]:
        """Function and format of the first norm's inverse square root."""
        norm, p = self.widths.attention(0).norm, self.widths.precision
        width, eps = self.config.width, self.config.norm_eps
        return inverse_root(norm, p, width=width, eps=eps, exact_truncation=exact_truncation)

    def matrices(self, names: tuple[str, ...]) -> dict[str, Matrix]:
        """Names, shapes and rings of some of the server's weights."""
        return matrices(self.config, self.widths, names, sharing=Sharing.of(self.suite))


def formats_of(config: ModelConfig, tokens: int, plan: Plan) -> ModelFormats:
    """The fixed-point formats that a plan gives a model of a shape; `config` is folded."""
    widths = Widths(
        config,
        None,
        max_context=tokens,
        exact_truncation=is_faithful(plan),
        polynomial=has_polynomials(plan),
    )
    return ModelFormats(config, tokens, widths, resolve_fss(plan))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a sample computes on, as whoever runs it has it.

    Attributes:
        rank: of a party that runs it online; None for all others, who have no data.
        weights: the server's, masked, where the sample has some.
        drawn: every input as it was drawn, in units of its last place; in float64.
    """

    rank: int | None = None
    weights: Mapping[str, Matrix] = field(default_factory=dict[str, Matrix])
    drawn: list[torch.Tensor] = field(default_factory=list[torch.Tensor])

    def masked(
        self, executor: Executor, shape: tuple[int, ...], frac_bits: int, ring_bits: int, draw: Draw
    ) -> Share:
        """The client's numbers, opened masked."""
        with executor.meter.span(INPUT, INPUT):
            return executor.one(Open(), self._own(shape, frac_bits, ring_bits, draw))

    def held(
        self, executor: Executor, shape: tuple[int, ...], frac_bits: int, ring_bits: int, draw: Draw
    ) -> Share:
        """The client's numbers, held by the server."""
        with executor.meter.span(INPUT, INPUT):
            return executor.one(ToServerHeld(), self._own(shape, frac_bits, ring_bits, draw))

    def _own(self, shape: tuple[int, ...], frac_bits: int, ring_bits: int, draw: Draw) -> Share:
        """Additive shares of the client's numbers."""
        x = shape_only(shape, frac_bits, ring_bits)
        if self.rank == SERVER:
            return dataclasses.replace(x, value=torch.zeros(shape, dtype=torch.int64))
        if self.rank == CLIENT:
            self.drawn.append((draw(shape) * 2.0**frac_bits).round())
            return dataclasses.replace(x, value=self.drawn[-1].to(torch.int64))
        return x

    def ids(self, count: int, vocabulary: int) -> list[int] | None:
        """The client's token ids."""
        return token_ids(count, vocabulary) if self.rank == CLIENT else None


def token_ids(count: int, vocabulary: int) -> list[int]:
    """Ids all over the vocabulary."""
    return [7919 * i % vocabulary for i in range(count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One operation's sample.

    Attributes:
        run: the result, how many elements it has, and what one is.
        expected: the result in float64, of inputs in units of their last place.
        weights: names of the server's matrices that it needs.
    """

    run: Callable[[Executor, ModelFormats, Inputs], tuple[Share, int, str]]
    expected: Callable[[ModelFormats, torch.Tensor], torch.Tensor]
    weights: tuple[str, ...] = ()


def _truncation() -> Sample:
    """From the residual to the norm's input."""

    def run(executor: Executor, formats: ModelFormats, inputs: Inputs) -> tuple[Share, int, str]:
        p, widths = formats.widths.precision, formats.widths
        input_frac, shape = widths.attention(0).norm.input_frac, (1, formats.tokens, formats.config.width)
        x = inputs.masked(executor, shape, p.residual, widths.residual_bits, normal(1.0))
        with executor.meter.span(SAMPLE):
            (y,) = narrow(executor, (x, input_frac, widths.residual_bits - (p.residual - input_frac)))
        return y, math.prod(shape), "element"

    return Sample(run=run, expected=lambda formats, x: x / 2.0**formats.widths.precision.residual)


def _linear() -> Sample:
    """The layer that reads the FFN's norm, without its bias; `expected` is of its weight, see `tasks`."""
    draw = normal(1.0)

    def shape_of(formats: ModelFormats) -> tuple[int, ...]:
        return (1, formats.tokens, formats.config.width)

    def run(executor: Executor, formats: ModelFormats, inputs: Inputs) -> tuple[Share, int, str]:
        ffn, weights = formats.widths.ffn(0), inputs.weights or formats.matrices(LAYER)
        x = inputs.held(executor, shape_of(formats), ffn.norm.held, ffn.in_bits, draw)
        with executor.meter.span(SAMPLE):
            y = executor.one(Linear(dataclasses.replace(weights[LAYER[0]], bias=None)), x)
        return y, math.prod(y.shape), "result"

    def expected(formats: ModelFormats, weight: torch.Tensor) -> torch.Tensor:
        unit = 2.0 ** formats.widths.ffn(0).norm.held
        return (draw(shape_of(formats)) * unit).round() / unit @ weight.double()

    return Sample(run=run, expected=expected, weights=LAYER)


def _embedding() -> Sample:
    """Rows of a random table; `expected` is of the table, see `tasks`."""

    def run(executor: Executor, formats: ModelFormats, inputs: Inputs) -> tuple[Share, int, str]:
        embedding, bits = formats.suite.embedding, formats.widths.embedding_bits
        vocabulary, table = formats.config.vocabulary, inputs.weights or formats.matrices(EMBEDDING)
        with executor.meter.span(SAMPLE):
            ids = inputs.ids(formats.tokens, vocabulary)
            tokens = embedding.tokens(executor, ids, formats.tokens, vocabulary, bits)
            rows = embedding.rows(executor, tokens, table[EMBEDDING[0]])
        return rows, formats.tokens, "token"

    def expected(formats: ModelFormats, table: torch.Tensor) -> torch.Tensor:
        return table.double()[token_ids(formats.tokens, formats.config.vocabulary)][None]

    return Sample(run=run, expected=expected, weights=EMBEDDING)


_TRUE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "relu": torch.relu,
}


def _activation(operation: str) -> Sample:
    def run(executor: Executor, formats: ModelFormats, inputs: Inputs) -> tuple[Share, int, str]:
        p, protocol = formats.widths.precision, formats.suite.activations[operation]
        around = formats.activation(operation, exact_truncation=executor.exact_truncation)
        shape = (1, formats.tokens, formats.config.hidden)
        ring_bits = formats.widths.ffn(0).preactivation_bits
        x = inputs.masked(executor, shape, p.activation, ring_bits, normal(2.0))
        with executor.meter.span(INPUT, INPUT):
            (index,) = narrow(executor, (x, around.index_frac, around.index_bits))
        with executor.meter.span(SAMPLE):
            y = protocol(executor, operation, around, x, index if protocol.indexed else x)
        return y, math.prod(shape), "element"

    def expected(formats: ModelFormats, x: torch.Tensor) -> torch.Tensor:
        return _TRUE[operation](x / 2.0**formats.widths.precision.activation)

    return Sample(run=run, expected=expected)


def _maximum() -> Sample:
    def run(executor: Executor, formats: ModelFormats, inputs: Inputs) -> tuple[Share, int, str]:
        p, attention, maximum = formats.widths.precision, formats.widths.attention(0), formats.suite.maximum
        frac_bits = -p.step if maximum.coarse else p.score
        x = inputs.masked(
            executor, formats.scores, p.score, score_index_bits(attention, p.score), normal(4.0)
        )
        with executor.meter.span(INPUT, INPUT):
            (x,) = narrow(executor, (x, frac_bits, score_index_bits(attention, frac_bits)))
        with executor.meter.span(SAMPLE):
            y = maximum(executor, x, formats.lengths)
        return y, math.prod(x.shape), "score"

    def expected(formats: ModelFormats, x: torch.Tensor) -> torch.Tensor:
        rows = torch.split(x / 2.0**formats.widths.precision.score, list(formats.lengths), -1)
        return torch.stack([torch.amax(row, -1) for row in rows], -1)

    return Sample(run=run, expected=expected)


def _exponential() -> Sample:
    def run(executor: Executor, formats: ModelFormats, inputs: Inputs) -> tuple[Share, int, str]:
        around = formats.exponential(exact_truncation=executor.exact_truncation)
        draw = log_uniform(2.0**-around.index_frac, 16.0)
        index = inputs.masked(executor, formats.scores, around.index_frac, around.index_bits, draw)
        with executor.meter.span(SAMPLE):
            (y,) = formats.suite.exponential(executor, around, index)
        return y, math.prod(index.shape), "score"

    def expected(formats: ModelFormats, x: torch.Tensor) -> torch.Tensor:
        return (-x / 2.0**formats.widths.precision.score).exp()

    return Sample(run=run, expected=expected)


def _power() -> Sample:
    def run(executor: Executor, formats: ModelFormats, inputs: Inputs) -> tuple[Share, int, str]:
        p, around = formats.widths.precision, formats.power
        ring_bits = around.integer_bits + p.query + p.key + 2
        x = inputs.masked(executor, formats.scores, p.query + p.key, ring_bits, normal(0.2))
        with executor.meter.span(SAMPLE):
            y = formats.suite.power(executor, around, x)
        return y, math.prod(x.shape), "score"

    def expected(formats: ModelFormats, x: torch.Tensor) -> torch.Tensor:
        p = formats.widths.precision
        return (x / 2.0 ** (p.query + p.key)) ** SAMPLE_POWER

    return Sample(run=run, expected=expected)


def _units(around: RangeReductionFormats, frac_bits: int) -> Draw:
    """Numbers all over a range that is given in units of the last place."""
    return log_uniform(
        max(math.ceil(around.low), 1.0) / 2.0**frac_bits, math.floor(around.high) / 2.0**frac_bits
    )


def _reciprocal() -> Sample:
    def run(executor: Executor, formats: ModelFormats, inputs: Inputs) -> tuple[Share, int, str]:
        frac_bits, shape = formats.dividing.weighting.frac, (1, formats.config.heads, formats.tokens, 1)
        function, around = formats.reciprocal(exact_truncation=executor.exact_truncation)
        bits, draw = formats.dividing.sum_bits, _units(around, frac_bits)
        sums = inputs.masked(executor, shape, frac_bits, bits, draw)
        with executor.meter.span(SAMPLE):
            y = formats.suite.reciprocal(executor, function, around, sums)
        return y, math.prod(shape), "row"

    def expected(formats: ModelFormats, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor(formats.reciprocal(exact_truncation=False)[0](x.numpy()))

    return Sample(run=run, expected=expected)


def _inverse_sqrt() -> Sample:
    def run(executor: Executor, formats: ModelFormats, inputs: Inputs) -> tuple[Share, int, str]:
        norm, shape = formats.widths.attention(0).norm, (1, formats.tokens, 1)
        function, around = formats.inverse_root(exact_truncation=executor.exact_truncation)
        frac_bits = 2 * norm.input_frac
        squares = inputs.masked(executor, shape, frac_bits, norm.square_bits, _units(around, frac_bits))
        with executor.meter.span(SAMPLE):
            y = formats.suite.inverse_sqrt(executor, function, around, squares)
        return y, formats.tokens, "row"

    def expected(formats: ModelFormats, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor(formats.inverse_root(exact_truncation=False)[0](x.numpy()))

    return Sample(run=run, expected=expected)


SAMPLES: dict[str, Sample] = {
    "truncation": _truncation(),
    "linear": _linear(),
    "embedding": _embedding(),
    "gelu": _activation("gelu"),
    "silu": _activation("silu"),
    "relu": _activation("relu"),
    "maximum": _maximum(),
    "exponential": _exponential(),
    "power": _power(),
    "reciprocal": _reciprocal(),
    "inverse_sqrt": _inverse_sqrt(),
}
"""By operation, as plans have it."""
