"""Everything that is registered for the FSS suite is held to what it declares."""

from __future__ import annotations

import pytest

from mpcinfer.suites.fss.samples import formats_of
from mpcinfer.suites.registry import SUITES, get_plan
from protocols.fss.activation_protocols import ActivationFormats, LookupActivation
from protocols.fss.registry import GELU
from tests.conformance.fss_protocol_suite import (
    CONFIG,
    TOKENS,
    Case,
    cases,
    cases_on,
    check_cost,
    check_error,
    check_oblivious,
    with_protocol,
)

ELSEWHERE = {"embedding"}
"""Exact, and with weights: `fss_cases` has its gates, `test_fss_models` the whole."""
REGISTERED = [
    (operation, name)
    for operation, protocols in SUITES["fss"].operations.items()
    for name in protocols
    if operation not in ELSEWHERE
]


@pytest.fixture(params=REGISTERED, ids="=".join, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    [made] = cases(*request.param)
    return made


def test_error_is_within_what_is_stated_and_not_far_from_it(case: Case) -> None:
    check_error(case)


def test_measured_is_counted(case: Case) -> None:
    check_cost(case)


def test_messages_do_not_depend_on_secrets(case: Case) -> None:
    check_oblivious(case)


# -- what the suite must reject ------------------------------------------------------------------------------


class StatesTooLittle(LookupActivation):
    """Off by forty times what it says."""

    def max_abs_error(self, kind: str, formats: ActivationFormats) -> float:
        return 1e-4


class StatesTooMuch(LookupActivation):
    """Off by a third of what it says."""

    def max_abs_error(self, kind: str, formats: ActivationFormats) -> float:
        return 3.0 * super().max_abs_error(kind, formats)


def _planted(protocol: object) -> Case:
    formats = formats_of(CONFIG, TOKENS, get_plan("fss"))
    [made] = cases_on("gelu", "planted", with_protocol(formats, "gelu", protocol))
    return made


def test_rejects_an_error_that_is_stated_too_small() -> None:
    with pytest.raises(AssertionError, match=r"gelu=planted: off by .* more than is stated"):
        check_error(_planted(StatesTooLittle()))


def test_rejects_an_error_that_is_stated_too_large() -> None:
    with pytest.raises(AssertionError, match="times what happens"):
        check_error(_planted(StatesTooMuch()))


def test_a_protocol_that_is_registered_is_held_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the list of cases is made of is the registry itself."""
    monkeypatch.setitem(GELU, "planted", StatesTooLittle)
    assert "planted" in SUITES["fss"].operations["gelu"]
    [made] = cases("gelu", "planted")
    with pytest.raises(AssertionError, match="more than is stated"):
        check_error(made)
