"""What every protocol that is registered for the FSS suite must show, with the formats of a model.

Each check raises AssertionError where a protocol does not: its private results are within the error that it
states, which is not twice too large; its bill is the counted one; what is sent does not depend on secrets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.fss.samples import ModelFormats, formats_of
from mpcinfer.suites.registry import get_plan
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.operations.rescale import narrow
from protocols.fss.operations.suite import FssSuite, RangeReductionFormats, RangeReductionProtocol
from protocols.fss.plans import EXACT, is_faithful
from protocols.fss.tables.binade_cells import Function
from protocols.share import Share
from tests.protocols.fss.harness import Program, Run, Secret, Weight, run

CONFIG = ModelConfig(
    layers=1, width=16, heads=2, kv_heads=2, head_width=8, hidden=64, vocabulary=50, context=64
)
TOKENS = 8
TRUE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": functional.gelu,
    "silu": functional.silu,
    "relu": torch.relu,
}
Real = torch.Tensor
"""float64."""


@dataclass(frozen=True, eq=False)
class Case:
    """A protocol with its formats.

    Attributes:
        program: on shares of the inputs.
        inputs: over the whole domain.
        others: of the same shapes, to compare what is sent.
        expected: the true results.
        allowed: what results may be off, everywhere: what is stated, and `rounding`.
        rounding: what the last place alone explains.
        weights: of the server.
        seeds: of the runs over which the largest error is taken.
    """

    name: str
    program: Program
    inputs: Sequence[Secret]
    others: Sequence[Secret]
    expected: Real
    allowed: Real
    rounding: Real
    exact_truncation: bool = False
    weights: Sequence[Weight] = ()
    seeds: Sequence[int] = (1, 2)

    def __str__(self) -> str:
        return self.name


def check_error(case: Case) -> None:
    """Within what is stated for all inputs and any masks; and nearly half of it happens."""
    worst = 0.0
    for done in _runs(case):
        error = (_real(done) - case.expected).abs()
        excess = float((error - case.allowed).max())
        assert excess <= 0, f"{case.name}: off by {excess:.3g} more than is stated"
        stated = case.allowed > case.rounding
        worst = max(worst, float((error / case.allowed)[stated].max()) if bool(stated.any()) else 1.0)
    assert worst >= 0.5, f"{case.name}: the stated error is {1 / worst:.1f} times what happens"


def check_cost(case: Case) -> None:
    """Rounds, bytes each way and correlations are as counted."""
    try:
        next(iter(_runs(case))).check_bill()
    except AssertionError as error:
        raise AssertionError(f"{case.name}: {error}") from error


def check_oblivious(case: Case) -> None:
    """Order, labels, widths and shapes of all frames are the same for other secrets."""
    seen = [
        [(f.sender, f.label, f.specs) for f in (*done.offline_frames, *done.frames)]
        for done in (
            run(case.program, inputs, weights=case.weights, exact_truncation=case.exact_truncation)
            for inputs in (case.inputs, case.others)
        )
    ]
    assert seen[0] == seen[1], f"{case.name}: what is sent depends on the secret"


def _runs(case: Case) -> Sequence[Run]:
    return [
        run(
            case.program, case.inputs, weights=case.weights, seed=seed, exact_truncation=case.exact_truncation
        )
        for seed in case.seeds
    ]


def _real(done: Run) -> Real:
    return done.secret().double() / 2.0 ** done.clear[0].frac_bits


# -- the cases of each operation -----------------------------------------------------------------------------


def cases(operation: str, name: str) -> list[Case]:
    """Of a registered protocol, alone in the plan `fss`; exact truncation in `fss-faithful`."""
    plan = get_plan("fss-faithful" if name == EXACT else "fss").replace(**{operation: name})
    return cases_on(operation, name, formats_of(CONFIG, TOKENS, plan), exact_truncation=is_faithful(plan))


def cases_on(
    operation: str, name: str, formats: ModelFormats, *, exact_truncation: bool = False
) -> list[Case]:
    """Of whatever the suite of these formats has for an operation."""
    kind = operation if operation in TRUE else ""
    made = (
        [_activation(kind, formats, exact_truncation, gated=gated) for gated in (False, True)]
        if kind
        else [_MAKERS[operation](formats, exact_truncation)]
    )
    names = (f"{operation}={name}", f"{operation}={name}, times a factor")
    return [
        dataclasses.replace(each, name=called, exact_truncation=exact_truncation)
        for each, called in zip(made, names, strict=False)
    ]


def with_protocol(formats: ModelFormats, operation: str, protocol: object) -> ModelFormats:
    """Formats whose suite has another protocol for an activation."""
    suite: FssSuite = dataclasses.replace(
        formats.suite, activations={**formats.suite.activations, operation: protocol}
    )
    return dataclasses.replace(formats, suite=suite)


def _activation(kind: str, formats: ModelFormats, exact_truncation: bool, *, gated: bool) -> Case:
    """Values of any size, densely where the function bends; times a factor, as in a gated unit, or alone."""
    p, ffn, protocol = formats.widths.precision, formats.widths.ffn(0), formats.suite.activations[kind]
    around = formats.activation(kind, exact_truncation=exact_truncation)
    high = int(protocol.reach(around) * 2.0**p.activation)
    low = -high
    bent = torch.arange(-6 << p.activation, 6 << p.activation)
    x = torch.cat([bent, torch.linspace(low, high, 2001).long()])

    def program(executor: Executor, value: Share, *factors: Share) -> Shares:
        index = value
        if protocol.indexed:
            (index,) = narrow(executor, (value, around.index_frac, around.index_bits))
        return (protocol(executor, kind, around, value, index, *factors),)

    real = x.double() / 2.0**p.activation
    factor = torch.where(torch.arange(len(x)) % 2 == 0, 1 << p.activation, -3 << p.activation - 1)
    times = factor.double() / 2.0**p.activation if gated else torch.ones_like(real)
    stated = protocol.max_abs_error(kind, around) * times.abs()
    inputs = [
        [Secret(each, p.activation, ffn.preactivation_bits) for each in (value, factor)[: 1 + gated]]
        for value in (x, torch.zeros_like(x))
    ]
    return Case("", program, *inputs, TRUE[kind](real) * times, stated, torch.zeros_like(real))


def _exponential(formats: ModelFormats, exact_truncation: bool) -> Case:
    protocol, around = formats.suite.exponential, formats.exponential(exact_truncation=exact_truncation)
    most = 2 ** (around.index_bits - 1) - 1
    z = torch.cat([torch.arange(0, 8 << around.index_frac), torch.linspace(0, most, 2001).long()])

    def program(executor: Executor, index: Share) -> Shares:
        return protocol(executor, around, index)

    real = (-z.double() / 2.0**around.index_frac).exp()
    rounding = torch.full_like(real, 2.0 ** -(around.frac_bits + 1))
    stated = protocol.max_rel_error(around) * real
    inputs = [Secret(value, around.index_frac, around.index_bits) for value in (z, torch.zeros_like(z))]
    return Case("", program, inputs[:1], inputs[1:], real, stated + rounding, rounding)


def _power(formats: ModelFormats, exact_truncation: bool) -> Case:
    p, around, largest = formats.widths.precision, formats.power, 1.0
    frac_bits, protocol = p.query + p.key, formats.suite.power
    x = torch.linspace(-largest, largest, 4001).mul(2.0**frac_bits).long()
    ring_bits = around.integer_bits + frac_bits + 2

    def program(executor: Executor, value: Share) -> Shares:
        return (protocol(executor, around, value),)

    real = (x.double() / 2.0**frac_bits) ** around.power
    none = torch.zeros_like(real)
    inputs = [Secret(value, frac_bits, ring_bits) for value in (x, torch.zeros_like(x))]
    stated = torch.full_like(real, protocol.max_abs_error(around, largest))
    return Case("", program, inputs[:1], inputs[1:], real, stated, none)


def _range_reduction(
    protocol: RangeReductionProtocol,
    function: Function,
    around: RangeReductionFormats,
    power: float,
    ring_bits: int,
) -> Case:
    """Numbers of all orders of magnitude."""
    exponents = torch.linspace(0.0, 1.0, 4001, dtype=torch.float64)
    low = max(around.low, 1.0)
    s = (low * (around.high / low) ** exponents).ceil().clamp(max=around.high).long()

    def program(executor: Executor, value: Share) -> Shares:
        return (protocol(executor, function, around, value),)

    real = torch.from_numpy(function(s.double().numpy()))
    rounding = torch.full_like(real, 2.0**-around.frac_bits)
    stated = protocol.max_rel_error(power, around) * real
    inputs = [Secret(value, 0, ring_bits) for value in (s, torch.full_like(s, int(low) + 1))]
    return Case("", program, inputs[:1], inputs[1:], real, stated + rounding, rounding)


def _reciprocal(formats: ModelFormats, exact_truncation: bool) -> Case:
    function, around = formats.reciprocal(exact_truncation=exact_truncation)
    return _range_reduction(formats.suite.reciprocal, function, around, 1.0, formats.dividing.sum_bits)


def _inverse_sqrt(formats: ModelFormats, exact_truncation: bool) -> Case:
    function, around = formats.inverse_root(exact_truncation=exact_truncation)
    bits = formats.widths.attention(0).norm.square_bits
    return _range_reduction(formats.suite.inverse_sqrt, function, around, 0.5, bits)


def _maximum(formats: ModelFormats, exact_truncation: bool) -> Case:
    """Rows of scores, near and far from each other, against the largest of each."""
    p, attention, maximum = formats.widths.precision, formats.widths.attention(0), formats.suite.maximum
    lengths, ring_bits = formats.lengths, attention.score_integer + 1 + p.score
    most, count = 1 << (attention.score_integer - 1 + p.score), sum(formats.lengths)
    x = ((torch.arange(300 * count) * 7919) % (2 * most) - most).reshape(300, count)
    x[100:200] //= 64
    frac_bits = -p.step if maximum.coarse else p.score

    def program(executor: Executor, value: Share) -> Shares:
        if maximum.coarse:
            (value,) = narrow(executor, (value, frac_bits, attention.score_integer + 1 + frac_bits))
        return (maximum(executor, value, lengths),)

    largest = torch.stack([row.amax(-1) for row in x.split(lengths, -1)], -1).double() / 2.0**p.score
    stated = torch.full_like(largest, 2.0**p.step if maximum.coarse else 0.0)
    inputs = [Secret(value, p.score, ring_bits) for value in (x, torch.zeros_like(x))]
    return Case("", program, inputs[:1], inputs[1:], largest, stated, torch.zeros_like(largest))


def _truncation(formats: ModelFormats, exact_truncation: bool) -> Case:
    """From the residual to a norm's input."""
    p, keep, ring_bits = (
        formats.widths.precision,
        formats.widths.attention(0).norm.input_frac,
        formats.widths.residual_bits,
    )
    most = 1 << (ring_bits - 3)
    x = torch.cat([torch.linspace(-most, most - 1, 2001).long(), torch.arange(-1000, 1000)])

    def program(executor: Executor, value: Share) -> Shares:
        return narrow(executor, (value, keep, ring_bits - (p.residual - keep)))

    real = x.double() / 2.0**p.residual
    stated = torch.full_like(real, formats.suite.truncation.max_units_off * 2.0**-keep)
    inputs = [Secret(value, p.residual, ring_bits) for value in (x, torch.zeros_like(x))]
    return Case("", program, inputs[:1], inputs[1:], real, stated, torch.zeros_like(real))


_MAKERS: dict[str, Callable[[ModelFormats, bool], Case]] = {
    "exponential": _exponential,
    "power": _power,
    "reciprocal": _reciprocal,
    "inverse_sqrt": _inverse_sqrt,
    "maximum": _maximum,
    "truncation": _truncation,
}
