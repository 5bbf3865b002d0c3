"""The protocol suite over everything in the registry, and over the negative controls that it must reject."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcinfer.suites.registry import get_plan
from parties.errors import RangeError
from protocols.additive.registry import GELU, INVERSE_SQRT, POWER, RELU, SILU, SOFTMAX
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.gelu import TANH_FORM_GAP
from protocols.arithmetic.operation import CausalProtocol, UnaryProtocol
from protocols.share import Share
from tests.conformance.protocol_suite import (
    UNIT,
    Case,
    check_cost,
    check_error,
    check_error_on_shares,
    check_oblivious,
    check_tight,
    grid,
)
from tests.controls import protocols as controls
from tests.roundings import on_grid

REFERENCES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "relu": torch.relu,
}
RANGES = {
    "octaves": [(2.0**-8, 2.0**20), (0.1, 150.0), (0.3, 1.1), (300.0, 1100.0), (7.0, 7.0)],
    "stock": [(0.1, 150.0)],
    "goldschmidt": [(0.1, 150.0), (0.3, 1.1), (7.0, 7.0), (0.02, 80.0), (300.0, 1100.0)],
}
LARGEST_SCORE = {"tree": 140.0, "stock": 35.0}
"""Stock: a hidden score must stay below the visible ones after 100 is taken off it."""
POSITIONS = [(1, 0), (1, 4), (4, 0), (3, 5)]
"""Queries, and keys before the first of them."""


POWER_RANGES = [(2, 0.1, 4.0), (2, 1e-3, 4.0), (4, 0.1, 3.0), (6, 0.1, 2.0), (8, 0.1, 2.0)]
"""Power, epsilon, largest score."""
WIDE_POWERS = {("goldschmidt", 2, 1e-3)}
"""Divisors beyond what the protocol holds, which it refuses."""


def unary(operation: str, name: str, protocol: UnaryProtocol) -> Case:
    low, high = protocol.domain
    inner = grid(max(low, -12.0), min(high, 12.0), 100_001)
    return Case(
        name=f"{operation}-{name}",
        apply=protocol,
        reference=REFERENCES[operation],
        tolerance=lambda x: torch.full_like(x, protocol.max_abs_error),
        inputs=[torch.cat([grid(low, high, 100_001), inner])],
        shapes=[(1,), (2, 3), (2, 1, 5)],
    )


def ranged(name: str, low: float, high: float) -> Case:
    protocol = INVERSE_SQRT[name](low, high)
    exponents = torch.linspace(0.0, 1.0, 50_001, dtype=torch.float64)
    x = on_grid(low * (high / low) ** exponents)
    return Case(
        name=f"inverse_sqrt-{name}-{low:g}-{high:g}",
        apply=protocol,
        reference=lambda v: v**-0.5,
        tolerance=lambda v: protocol.max_rel_error * v**-0.5 + 2 * UNIT,
        inputs=[x],
        shapes=[(1,), (2, 3, 1)],
    )


def visible(scores: torch.Tensor, start: int, window: int = 0) -> torch.Tensor:
    up_to = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(start)
    return up_to.triu(start - window + 1) if window else up_to


def causal(name: str, protocol: CausalProtocol, tokens: int, start: int, window: int = 0) -> Case:
    """Scores with ties, near ties, and one key far above the rest."""

    def reference(scores: torch.Tensor) -> torch.Tensor:
        return scores.masked_fill(~visible(scores, start, window), float("-inf")).softmax(-1)

    def tolerance(scores: torch.Tensor) -> torch.Tensor:
        error = protocol.max_abs_error + scores.shape[-1] * UNIT
        return visible(scores, start, window) * torch.full_like(scores, error)

    generator = torch.Generator().manual_seed(tokens * 100 + start)
    shape = (1, 2, tokens, start + tokens)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    far = torch.zeros(shape, dtype=torch.float64)
    far[..., 0] = 0.0 if window else protocol.max_spread - 1.0  # stock hides no key that far above
    windows = (window,) if window else ()
    return Case(
        name=f"softmax-{name}-{tokens}-{start}" + (f"-{window}" if window else ""),
        apply=lambda executor, scores: protocol(executor, scores, start, *windows),
        reference=reference,
        tolerance=tolerance,
        inputs=[torch.zeros(shape, dtype=torch.float64), *(on_grid(noise * s) for s in (0.01, 1, 10)), far],
        shapes=[shape],
    )


def powers(name: str, power: int, epsilon: float, largest: float, tokens: int, start: int) -> Case:
    """Scores of every size up to the largest, together and alone in their rows, and all zero."""
    high = largest**power + epsilon
    protocol = POWER[name](power, epsilon, high, largest)
    shape = (1, 2, tokens, start + tokens)

    def apply(executor: Arithmetic, scores: Share) -> Share:
        return protocol(executor, scores, start, epsilon)

    def reference(scores: torch.Tensor) -> torch.Tensor:
        seen = scores.tril(start) ** power
        lengths = torch.arange(start + 1, start + tokens + 1)[:, None]
        return seen / (seen.sum(-1, keepdim=True) + epsilon * lengths)

    generator = torch.Generator().manual_seed(tokens * 100 + start)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    alone = torch.zeros(shape, dtype=torch.float64)
    alone[..., 0] = -largest
    return Case(
        name=f"power-{name}-{power}-{epsilon:g}-{tokens}-{start}",
        apply=apply,
        reference=reference,
        tolerance=lambda scores: visible(scores, start) * torch.full_like(scores, protocol.max_abs_error),
        inputs=[
            torch.zeros(shape, dtype=torch.float64),
            torch.full(shape, largest, dtype=torch.float64),
            alone,
            *(on_grid((noise * size).clamp(-largest, largest)) for size in (0.03, 0.3, 1.0, largest)),
        ],
        shapes=[shape],
    )


def of_the_tanh_form(name: str, protocol: UnaryProtocol) -> Case:
    """The same protocol where models have the approximation by tanh."""
    tolerance = protocol.max_abs_error + TANH_FORM_GAP
    return replace(
        unary("gelu", name, protocol),
        name=f"gelu_tanh-{name}",
        reference=lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        tolerance=lambda x: torch.full_like(x, tolerance),
    )


UNARY = [
    unary(operation, name, make())
    for operation, table in (("gelu", GELU), ("silu", SILU), ("relu", RELU))
    for name, make in table.items()
]
INVERSE_SQRTS = [ranged(name, *bounds) for name in INVERSE_SQRT for bounds in RANGES[name]]
SOFTMAXES = [causal(name, make(), *position) for name, make in SOFTMAX.items() for position in POSITIONS]
SOFTMAXES += [causal(name, make(), 5, 3, window) for name, make in SOFTMAX.items() for window in (1, 4)]
POWERS = [
    powers(name, *of, *position)
    for name in POWER
    for of in POWER_RANGES
    for position in POSITIONS[: 1 if of[0] > 4 else None]
    if (name, *of[:2]) not in WIDE_POWERS
]
TANH_FORMS = [of_the_tanh_form(name, make()) for name, make in GELU.items()]
CASES = [*UNARY, *INVERSE_SQRTS, *SOFTMAXES, *POWERS]


def few(case: Case) -> torch.Tensor:
    """Some of a case's inputs, edges included, as many as two threads compute in a moment."""
    x = case.inputs[-1] if case.name.startswith(("softmax", "power")) else case.inputs[0].flatten()
    return x if x.dim() > 1 else x[torch.linspace(0, len(x) - 1, min(len(x), 301)).long()]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_error_is_within_what_is_stated(case: Case) -> None:
    check_error(case)


@pytest.mark.parametrize(("name", "power", "epsilon"), sorted(WIDE_POWERS))
def test_divisors_beyond_a_protocol_are_refused(name: str, power: int, epsilon: float) -> None:
    with pytest.raises(RangeError, match="larger attention_epsilon"):
        POWER[name](power, epsilon, 16.0 + epsilon, 4.0)


@pytest.mark.parametrize("case", TANH_FORMS, ids=str)
def test_error_where_models_have_the_tanh_form(case: Case) -> None:
    check_error(case)


@pytest.mark.parametrize("case", UNARY, ids=str)
def test_the_stated_error_is_not_twice_what_happens(case: Case) -> None:
    check_tight(case)


@pytest.mark.parametrize("case", UNARY, ids=str)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(fractions=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_error_at_any_input(case: Case, fractions: list[float]) -> None:
    low, high = float(case.inputs[0].min()), float(case.inputs[0].max())
    x = on_grid(low + (high - low) * torch.tensor(fractions, dtype=torch.float64))
    check_error(case, [x, on_grid(x / 100.0)])


@pytest.mark.parametrize("case", SOFTMAXES, ids=str)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_softmax_of_any_scores(case: Case, data: st.DataObject) -> None:
    size = case.shapes[0]
    count = int(torch.Size(size).numel())
    largest = LARGEST_SCORE[case.name.split("-")[1]]
    numbers = st.lists(st.floats(-largest, largest), min_size=count, max_size=count)
    check_error(case, [on_grid(torch.tensor(data.draw(numbers), dtype=torch.float64).reshape(size))])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_error_on_shares(case: Case) -> None:
    check_error_on_shares(case, few(case))


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("choice", [{}, {"truncation": "exact"}, {"comparison": "words"}], ids=str)
def test_measured_is_counted(case: Case, choice: dict[str, str]) -> None:
    check_cost(case, get_plan("crypten").replace(**choice) if choice else get_plan("crypten"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_messages_do_not_depend_on_secrets(case: Case) -> None:
    x = few(case)
    check_oblivious(case, x, torch.full_like(x, float(x.flatten()[0])))


def broken(operation: str, protocol: UnaryProtocol) -> Case:
    return unary(operation, type(protocol).__name__, protocol)


def broken_softmax(protocol: CausalProtocol, tokens: int, start: int) -> Case:
    return causal(type(protocol).__name__, protocol, tokens, start)


@pytest.mark.parametrize(
    "case",
    [
        broken("gelu", controls.GeluWithoutPieces()),
        broken("gelu", controls.StockGeluEverywhere()),
        broken_softmax(controls.MaskedSoftmax(), 4, 0),
        broken_softmax(controls.SoftmaxBeyondReciprocal(), 1, 299),
        broken_softmax(controls.SoftmaxThatSeesTheFuture(), 4, 0),
    ],
    ids=str,
)
def test_rejects_wrong_results(case: Case) -> None:
    with pytest.raises((AssertionError, RangeError)):
        check_error(case)


def test_rejects_an_error_that_is_stated_too_small() -> None:
    case = unary("gelu", "piecewise", GELU["piecewise"]())
    with pytest.raises(AssertionError, match="too much"):
        check_error(replace(case, tolerance=lambda x: torch.full_like(x, 1e-3)))


def test_rejects_an_error_that_is_stated_too_large() -> None:
    case = unary("gelu", "piecewise", GELU["piecewise"]())
    with pytest.raises(AssertionError, match="times what happens"):
        check_tight(replace(case, tolerance=lambda x: torch.full_like(x, 1e-2)))


def test_rejects_a_miscount() -> None:
    with pytest.raises(AssertionError, match="relu-MiscountedRelu"):
        check_cost(broken("relu", controls.MiscountedRelu()))


def test_rejects_messages_that_depend_on_the_secret() -> None:
    case = broken("relu", controls.ReluThatAdapts())
    inputs: Sequence[torch.Tensor] = [torch.tensor([1.0, 2.0]), torch.tensor([1.0, -2.0])]
    with pytest.raises(AssertionError, match="depends on the secret"):
        check_oblivious(case, *(x.double() for x in inputs))
