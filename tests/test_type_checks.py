"""Calls in tests are checked against annotations: other tests rely on that without saying so."""

from __future__ import annotations

from typing import Any

import pytest
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation

from mpcinfer.models.ranges import calibrate
from parties.bill import BillRow
from parties.meter import Meter
from protocols.fss.ring import low
from tests.type_checks import checked

WRONG: Any = "three"


def test_arguments_of_all_three_packages_are_checked() -> None:
    for call in (lambda: low(WRONG, 8), lambda: Meter(timed=WRONG), lambda: calibrate(WRONG, [])):
        with pytest.raises(BeartypeCallHintParamViolation):
            call()


def test_fields_of_dataclasses_are_checked() -> None:
    with pytest.raises(BeartypeCallHintParamViolation):
        BillRow(label="x", rounds=WRONG)


def test_results_are_checked() -> None:
    @checked
    def wrong() -> int:
        return WRONG

    with pytest.raises(BeartypeCallHintReturnViolation):
        wrong()


def test_what_is_known_to_type_checkers_alone_is_not_checked() -> None:
    def of(item: int, other: Nowhere) -> int:  # type: ignore[name-defined] # noqa: F821 # pyright: ignore
        return item

    assert checked(of)(1, WRONG) == 1
    with pytest.raises(BeartypeCallHintParamViolation):
        checked(of)(WRONG, WRONG)
