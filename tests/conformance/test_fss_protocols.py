"""Everything that is registered for the FSS suite is held to what it declares."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.suites.fss.samples import formats_of
from mpcinfer.suites.registry import SUITES, get_plan
from protocols.fss.executors.executor import Executor
from protocols.fss.operations.activation_protocols import ActivationFormats, LookupActivation
from protocols.fss.registry import GELU, RELU, SILU
from protocols.share import Share
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
from tests.conformance.test_backends import GPT2, LLAMA
from tests.mpcinfer.fss_parties import Whole, run_clear, run_private
from tests.mpcinfer.three_parties import random_model

ELSEWHERE = {"embedding", "linear"}
"""Exact, and with weights: `fss_cases` has its gates, `test_fss_models` the whole."""
REGISTERED = [
    (operation, name)
    for operation, protocols in SUITES["fss"].operations.items()
    for name in protocols
    if operation not in ELSEWHERE
]


@pytest.fixture(params=REGISTERED, ids="=".join, scope="module")
def registered(request: pytest.FixtureRequest) -> list[Case]:
    return cases(*request.param)


def test_error_is_within_what_is_stated_and_not_far_from_it(registered: list[Case]) -> None:
    for case in registered:
        check_error(case)


def test_measured_is_counted(registered: list[Case]) -> None:
    for case in registered:
        check_cost(case)


def test_messages_do_not_depend_on_secrets(registered: list[Case]) -> None:
    for case in registered:
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
    return cases_on("gelu", "planted", with_protocol(formats, "gelu", protocol))[0]


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
    made, _ = cases("gelu", "planted")
    with pytest.raises(AssertionError, match="more than is stated"):
        check_error(made)


# -- in a model whose plan truncates exactly -----------------------------------------------------------------


class Finer(LookupActivation):
    """Leaves six more fraction bits than were asked for, in a ring as much wider."""

    def __call__(
        self,
        executor: Executor,
        kind: str,
        formats: ActivationFormats,
        x: Share,
        index: Share,
        *factors: Share,
    ) -> Share:
        return executor.shift_up(super().__call__(executor, kind, formats, x, index, *factors), 6)


EXACT_MODELS = {"gelu": GPT2, "silu": LLAMA, "relu": dataclasses.replace(GPT2, activation="relu")}
WITH_EXACT = [
    (operation, name)
    for operation in EXACT_MODELS
    for name, protocol in SUITES["fss"].operations[operation].items()
    if not getattr(protocol, "exact_form", "")
]


@pytest.mark.parametrize(("operation", "name"), [*WITH_EXACT, *((each, "finer") for each in EXACT_MODELS)])
def test_a_model_with_it_equals_its_reference_where_truncation_is_exact(
    operation: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in (GELU, SILU, RELU):
        monkeypatch.setitem(table, "finer", Finer)
    plan = get_plan("fss-faithful").replace(**{operation: name})
    config = dataclasses.replace(EXACT_MODELS[operation], layers=1)
    whole = Whole.of(random_model(config), plan, max_context=8)
    steps = [[1, 2, 3]]
    assert torch.equal(run_private(whole, steps).logits[0], run_clear(whole, steps)[0])
