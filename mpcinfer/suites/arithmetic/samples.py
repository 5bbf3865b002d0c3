"""The sample of each operation of the suite `crypten`: what the catalogue counts and benchmarks run.

Inputs are shared outside of the span `SAMPLE`; what is inside of it is the protocol alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.entry import SAMPLE
from mpcinfer.suites.task import Draw, log_uniform, normal
from parties.meter import CLIENT, SERVER
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.suite import Suite
from protocols.arithmetic.weight import Weight
from protocols.share import Share

LARGEST = 128.0
"""Bound on compared numbers."""
ROW_RANGE = (0.1, 150.0)
"""Range of the arguments of inverse square roots: the widest that all protocols allow."""
POWER = (4, 0.1, 100.0, 4.0)
"""Power, divisors and scores, as range training leaves them."""
POWER_EPSILON = 0.1
INPUT = "input"
"""The label under which inputs are brought in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a sample computes on, as whoever runs it has it.

    Attributes:
        rank: of a party; None where costs are counted, without data.
        drawn: the client's inputs in float64, rounded to their last place.
    """

    rank: int | None = None
    drawn: list[torch.Tensor] = field(default_factory=list[torch.Tensor])

    def shared(
        self, executor: Arithmetic, shape: tuple[int, ...], draw: Draw, frac_bits: int | None = None
    ) -> Share:
        """The client's numbers."""
        frac_bits = executor.frac_bits if frac_bits is None else frac_bits
        with executor.meter.span(INPUT, INPUT):
            if self.rank != CLIENT:
                return executor.share_from(CLIENT, None, shape, frac_bits)
            self.drawn.append((draw(shape) * 2.0**frac_bits).round() / 2.0**frac_bits)
            return executor.share_from(CLIENT, self.drawn[-1], shape, frac_bits)

    def weight(self, executor: Arithmetic, shape: tuple[int, int]) -> Weight:
        """The server's matrix."""
        value = random_matrix(shape) if self.rank == SERVER else None
        with executor.meter.span(INPUT, INPUT):
            return executor.weight("w", value, shape)


def random_matrix(shape: tuple[int, int]) -> torch.Tensor:
    """Numbers of the size that a trained model's have."""
    return normal(shape[0] ** -0.5)(shape)


Run = Callable[[Arithmetic, Suite, ModelConfig, int, Inputs], tuple[Share, int, str]]
"""Computes a sample: its result, how many elements it has, and what one is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One operation's sample; `expected` is the result in float64."""

    run: Run
    expected: Callable[[torch.Tensor], torch.Tensor]


def _linear() -> Sample:
    def run(
        executor: Arithmetic, suite: Suite, config: ModelConfig, tokens: int, inputs: Inputs
    ) -> tuple[Share, int, str]:
        x = inputs.shared(executor, (1, tokens, config.width), normal(1.0))
        weight = inputs.weight(executor, (config.width, config.width))
        with executor.meter.span(SAMPLE):
            y = executor.linear(x, weight)
        return y, tokens * config.width, "element"

    return Sample(run=run, expected=lambda x: x @ random_matrix((x.shape[-1], x.shape[-1])))


def _products() -> Sample:
    def run(
        executor: Arithmetic, suite: Suite, config: ModelConfig, tokens: int, inputs: Inputs
    ) -> tuple[Share, int, str]:
        x = inputs.shared(executor, (1, tokens, config.width), normal(1.0))
        with executor.meter.span(SAMPLE):
            y = executor.mul(x, x)
        return y, tokens * config.width, "element"

    return Sample(run=run, expected=lambda x: x * x)


def _truncation() -> Sample:
    def run(
        executor: Arithmetic, suite: Suite, config: ModelConfig, tokens: int, inputs: Inputs
    ) -> tuple[Share, int, str]:
        x = inputs.shared(executor, (1, tokens, config.width), normal(1.0), 2 * executor.frac_bits)
        with executor.meter.span(SAMPLE):
            y = executor.truncate(x, executor.frac_bits)
        return y, math.prod(x.shape), "element"

    return Sample(run=run, expected=lambda x: x)


def _comparison() -> Sample:
    def run(
        executor: Arithmetic, suite: Suite, config: ModelConfig, tokens: int, inputs: Inputs
    ) -> tuple[Share, int, str]:
        x = inputs.shared(executor, (1, tokens, config.width), normal(1.0))
        with executor.meter.span(SAMPLE):
            y = executor.less_than_zero(x, LARGEST)
        return y, math.prod(x.shape), "element"

    return Sample(run=run, expected=lambda x: (x < 0).double())


def _hidden(scores: torch.Tensor) -> torch.Tensor:
    """Which keys a query may not see, [T, S]."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)


def _softmax() -> Sample:
    def run(
        executor: Arithmetic, suite: Suite, config: ModelConfig, tokens: int, inputs: Inputs
    ) -> tuple[Share, int, str]:
        scores = inputs.shared(executor, (1, config.heads, tokens, tokens), normal(2.0))
        with executor.meter.span(SAMPLE):
            y = suite.softmax(executor, scores, 0)
        return y, config.heads * tokens * (tokens + 1) // 2, "score"

    def expected(scores: torch.Tensor) -> torch.Tensor:
        return scores.masked_fill(_hidden(scores), -math.inf).softmax(-1)

    return Sample(run=run, expected=expected)


def _power() -> Sample:
    def run(
        executor: Arithmetic, suite: Suite, config: ModelConfig, tokens: int, inputs: Inputs
    ) -> tuple[Share, int, str]:
        scores = inputs.shared(executor, (1, config.heads, tokens, tokens), normal(0.7))
        with executor.meter.span(SAMPLE):
            y = suite.power(*POWER)(executor, scores, 0, POWER_EPSILON)
        return y, config.heads * tokens * (tokens + 1) // 2, "score"

    def expected(scores: torch.Tensor) -> torch.Tensor:
        powers = (scores ** POWER[0]).masked_fill(_hidden(scores), 0.0)
        lengths = torch.arange(1, scores.shape[-1] + 1, dtype=torch.float64)[:, None]
        return powers / (powers.sum(-1, keepdim=True) / lengths + POWER_EPSILON) / lengths

    return Sample(run=run, expected=expected)


def _unary(operation: str, expected: Callable[[torch.Tensor], torch.Tensor]) -> Sample:
    def run(
        executor: Arithmetic, suite: Suite, config: ModelConfig, tokens: int, inputs: Inputs
    ) -> tuple[Share, int, str]:
        x = inputs.shared(executor, (1, tokens, config.hidden), normal(2.0))
        with executor.meter.span(SAMPLE):
            y = getattr(suite, operation)(executor, x)
        return y, math.prod(x.shape), "element"

    return Sample(run=run, expected=expected)


def _inverse_sqrt() -> Sample:
    def run(
        executor: Arithmetic, suite: Suite, config: ModelConfig, tokens: int, inputs: Inputs
    ) -> tuple[Share, int, str]:
        x = inputs.shared(executor, (1, tokens, 1), log_uniform(*ROW_RANGE))
        with executor.meter.span(SAMPLE):
            y = suite.inverse_sqrt(*ROW_RANGE)(executor, x)
        return y, tokens, "row"

    return Sample(run=run, expected=lambda x: x.rsqrt())


SAMPLES: dict[str, Sample] = {
    "linear": _linear(),
    "products": _products(),
    "truncation": _truncation(),
    "comparison": _comparison(),
    "softmax": _softmax(),
    "gelu": _unary("gelu", torch.nn.functional.gelu),
    "silu": _unary("silu", torch.nn.functional.silu),
    "relu": _unary("relu", torch.relu),
    "inverse_sqrt": _inverse_sqrt(),
    "power": _power(),
}
"""By operation, as plans have it."""
