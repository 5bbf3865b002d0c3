"""Every gate of the FSS suite through the conformance suite, and broken gates that it must reject."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

import protocols.fss.gates
from protocols.fss.executors.gate import Gate
from protocols.fss.gates import polynomial
from protocols.fss.gates.line_activation import LineActivation
from protocols.fss.gates.lookup_exponential import Exponential
from protocols.fss.gates.opening import Open
from protocols.fss.gates.range_reduction import RangeReduction
from protocols.fss.gates.split_exponential import SplitExponential
from protocols.fss.gates.widening import Widen
from protocols.fss.preprocessing import correlations
from protocols.share import Held
from tests.conformance.fss_case import Case, Domain, additive, direct, elementwise
from tests.conformance.fss_cases import CASES, LINES, on_lines
from tests.conformance.fss_suite import (
    CHECKS,
    Rejected,
    check_correlations,
    check_cost,
    check_every_mask,
    check_faults,
    check_indistinguishable,
    check_oblivious,
    check_result,
    check_uniform,
)
from tests.controls import fss_altered, fss_bills, fss_functions, fss_openings, fss_trust


def gates(base: type[Gate] = Gate) -> Iterator[type[Gate]]:
    for module in pkgutil.iter_modules(protocols.fss.gates.__path__):
        importlib.import_module(f"protocols.fss.gates.{module.name}")
    for kind in base.__subclasses__():
        if kind.__module__.startswith("protocols.fss.") and not inspect.isabstract(kind):
            yield kind
        yield from gates(kind)


def test_every_gate_is_in_the_list() -> None:
    assert {case.gate for case in CASES} == set(gates())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gate(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


@pytest.mark.parametrize("check", [check_result, check_cost, check_correlations], ids=lambda c: c.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_parts(case: Case, check: Callable[[Case], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """As with so many elements that keys and shares lie in several parts, the last of them not full."""
    together = 60 if check is check_correlations else 8  # of 2,048 elements, and of 10
    monkeypatch.setattr(correlations, "KEYS_TOGETHER", together)
    monkeypatch.setattr(polynomial, "PRODUCT_TOGETHER", together)
    check(case)


@pytest.mark.parametrize("case", [case for case in CASES if case.every_mask], ids=str)
def test_every_secret_under_every_mask(case: Case) -> None:
    check_every_mask(case)


# -- negative controls
# --------------------------------------------------------------------------------------------

Check = Callable[[Case], None]


def control(gate: Gate, *domains: Domain, tolerance: int = 0) -> Case:
    return elementwise(type(gate).__name__, gate, direct(gate), *domains, tolerance=tolerance)


ONE, TWO = (additive(9),), (additive(9), additive(9))


def inverse(s: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / np.maximum(s, 1.0)


NARROW = Domain(-32, 32, 8)
INDEX = Domain(-4, 120, 8, 2)
INVERSE = RangeReduction(inverse, 3, 100, cells_bits=2, ring_bits=16, frac_bits=12)
EXP = Exponential(ring_bits=16, frac_bits=6, index_bits=8, index_frac=2, low=-1.0)
SPLIT = SplitExponential(ring_bits=16, frac_bits=6, index_bits=8, index_frac=4, low=-1.0)
LINE = LineActivation("gelu", ring_bits=15, frac_bits=3, **LINES)


def on_lines_control(gate: Gate) -> Case:
    return elementwise(type(gate).__name__, gate, on_lines(gate), Domain(-60, 60, 8, 3))


CONTROLS: list[tuple[Case, Check, str]] = [
    (control(fss_openings.ShortMask(), *ONE), check_uniform, "high bits"),
    (
        control(fss_openings.ShortMask(), *ONE),
        check_indistinguishable,
        "tells two secrets apart by its high bits",
    ),
    (control(fss_openings.EvenMask(), *ONE), check_uniform, "low bits"),
    (control(fss_openings.OneMaskForTwo(), *TWO), check_uniform, "minus"),
    (control(fss_openings.OneMaskForAll(), *ONE), check_uniform, "not uniform"),
    (control(fss_openings.Unmasked(), *ONE), check_uniform, "what other/open opens is not uniform"),
    (control(fss_openings.Unmasked(), *ONE), check_oblivious, "depends on the secret"),
    (control(fss_openings.BiasedBit(), Domain(-128, 128, 8)), check_uniform, "what other/negative opens"),
    (control(fss_bills.OneWayCounted(), *ONE), check_cost, "online_bytes_to_server"),
    (control(fss_bills.RoundForgotten(), *TWO), check_cost, "rounds"),
    (control(fss_bills.DealerLeftOut(), *ONE), check_cost, "OneWay|DealerLeftOut"),
    (
        control(fss_trust.MaskHandedOut(), Domain(-128, 128, 8)),
        check_correlations,
        "correlations for the server",
    ),
    (control(fss_trust.TrustsItsPeer(), *ONE), check_faults, "another label"),
    (
        control(
            fss_functions.LocalTruncation(4), Domain(-(1 << 9), 1 << 9, 12, 4, Held.ADDITIVE), tolerance=1
        ),
        check_result,
        "are wrong",
    ),
    (
        elementwise(
            "both round down", Open(), fss_functions.both_round_down, Domain(-64, 64, 8, 5, Held.ADDITIVE)
        ),
        check_result,
        "are wrong",
    ),
    (control(fss_functions.AliasedLookup(5), INDEX), check_result, "are wrong"),
    (control(fss_altered.SignForgotten(EXP), INDEX), check_result, "are wrong"),
    (control(fss_altered.WrapForgotten(Widen(12)), NARROW), check_result, "are wrong"),
    (control(fss_altered.WrapOpened(Widen(12)), NARROW), check_uniform, "other/widen"),
    (control(fss_altered.PlaceForgotten(SPLIT), Domain(-16, 128, 8, 4)), check_result, "are wrong"),
    (on_lines_control(fss_altered.PlaceForgotten(LINE)), check_result, "are wrong"),
    (on_lines_control(fss_altered.SignForgotten(LINE)), check_result, "are wrong"),
    (on_lines_control(fss_altered.OneMaskForValueAndSlope(LINE)), check_uniform, "minus"),
    (control(fss_altered.RestForgotten(INVERSE), Domain(-2, 101, 8)), check_result, "are wrong"),
]


@pytest.mark.parametrize(
    ("case", "check", "problem"),
    CONTROLS,
    ids=[f"{case.name}-{check.__name__}" for case, check, _ in CONTROLS],
)
def test_rejects_a_broken_control(case: Case, check: Check, problem: str) -> None:
    with pytest.raises(Rejected, match=problem):
        check(case)


RIGHT = {
    case.name: case
    for case, check, _ in CONTROLS
    if check is not check_result and case.name not in {"MaskHandedOut", "OneMaskForAll"}
}


@pytest.mark.parametrize("case", RIGHT.values(), ids=RIGHT)
def test_results_alone_do_not_show_what_is_wrong_with_it(case: Case) -> None:
    check_result(case)
