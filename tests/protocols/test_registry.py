"""Names: what resolves, and what is said about what does not."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from mpcinfer.suites.registry import PLANS, SUITES, check, disclosures, get_plan
from parties.errors import ConfigError
from protocols.additive.registry import resolve
from protocols.fss.operations.protocol import FssProtocol
from protocols.fss.operations.suite import FssSuite
from protocols.fss.plans import EXACT, is_faithful
from protocols.fss.registry import resolve as resolve_fss
from protocols.fss.registry import truncating
from protocols.plan import Plan
from protocols.two_party.registry import resolve as resolve_two_party

RESOLVERS = {"crypten": resolve, "fss": resolve_fss, "two-party": resolve_two_party}
OPERATIONS = [
    (suite_name, operation) for suite_name, suite in SUITES.items() for operation in suite.operations
]


@pytest.mark.parametrize("name", PLANS)
def test_presets_resolve_under_their_own_names(name: str) -> None:
    plan = get_plan(name)
    assert plan.name == name
    RESOLVERS[plan.suite](plan)


def test_presets_differ() -> None:
    assert len({plan.digest() for plan in PLANS.values()}) == len(PLANS)


@pytest.mark.parametrize(("suite_name", "operation"), OPERATIONS)
def test_every_protocol_can_be_chosen(suite_name: str, operation: str) -> None:
    preset = get_plan(suite_name)
    digests = {preset.digest()}
    for name in SUITES[suite_name].operations[operation]:
        plan = truncating(preset, exactly=True) if name == EXACT else preset.replace(**{operation: name})
        RESOLVERS[suite_name](plan)
        digests.add(plan.digest())
    assert len(digests) == 1 + len(SUITES[suite_name].operations[operation])


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_names_what_its_suite_has_and_nothing_else(name: str) -> None:
    plan = get_plan(name)
    assert set(plan.choices) == set(SUITES[plan.suite].operations)


OTHER_CHOICES = [
    (operation, name)
    for operation, protocols in SUITES["fss"].operations.items()
    for name in protocols
    if name not in (get_plan("fss").choices[operation], EXACT)
]


@pytest.mark.parametrize(("operation", "name"), OTHER_CHOICES)
def test_a_choice_reaches_the_suite_and_nothing_else_changes(operation: str, name: str) -> None:
    usual, other = (_by_operation(resolve_fss(plan)) for plan in _with_and_without(operation, name))
    expected = type(SUITES["fss"].operations[operation][name]())  # pyright: ignore
    changed = {key for key in usual if usual[key] is not other[key]}
    assert changed == ({"gelu", "gelu_tanh"} if operation == "gelu" else {operation})
    assert all(other[key] is expected for key in changed)


def _with_and_without(operation: str, name: str) -> tuple[Plan, Plan]:
    return get_plan("fss"), get_plan("fss").replace(**{operation: name})


def _by_operation(suite: FssSuite) -> dict[str, type]:
    """The class of every protocol; activations by a model's names for them."""
    fields = {field.name: getattr(suite, field.name) for field in dataclasses.fields(suite)}
    return {key: type(each) for key, each in {**fields, **fields.pop("activations")}.items()}


def test_the_exact_plan_is_a_choice_of_truncation() -> None:
    plan = truncating(get_plan("fss"), exactly=True)
    assert is_faithful(plan)
    assert plan.choices == get_plan("fss-faithful").choices
    assert not is_faithful(truncating(plan, exactly=False))
    with pytest.raises(ConfigError, match="with truncation=faithful take gelu=lookup"):
        check(get_plan("fss").replace(truncation="faithful"))
    assert not is_faithful(get_plan("fss"))
    assert resolve_fss(plan).truncation.exact_truncation


def test_everything_of_the_suite_is_documented() -> None:
    for table in SUITES["fss"].operations.values():
        for make in table.values():
            protocol = make()  # pyright: ignore
            assert isinstance(protocol, FssProtocol)
            assert inspect.getdoc(type(protocol))


@pytest.mark.parametrize("name", PLANS)
def test_plans_as_plain_values(name: str) -> None:
    plain = get_plan(name).to_json()
    assert Plan.from_json(plain) == get_plan(name)
    for wrong in ({}, {**plain, "more": 1}, {**plain, "choices": {"gelu": 1}}, {**plain, "fold": 1}, []):
        with pytest.raises(ConfigError, match="no plan"):
            Plan.from_json(wrong)  # pyright: ignore


def test_an_unknown_plan() -> None:
    with pytest.raises(ConfigError, match=r"no plan 'cryptn'; did you mean 'crypten'\?.*crypten-stock"):
        get_plan("cryptn")


@pytest.mark.parametrize("suite_name", SUITES)
def test_an_unknown_protocol(suite_name: str) -> None:
    known = sorted(SUITES[suite_name].operations["gelu"])
    plan = get_plan(suite_name).replace(gelu=known[0] + "x")
    near = f"did you mean '{known[0]}'?"
    with pytest.raises(ConfigError) as raised:
        RESOLVERS[suite_name](plan)
    said = str(raised.value)
    assert f"gelu has no protocol '{known[0]}x'; {near} there are {', '.join(known)}" in said


@pytest.mark.parametrize(
    ("preset", "operation", "known"),
    [("crypten", "tanh", "softmax"), ("crypten", "maximum", "softmax"), ("fss", "softmax", "maximum")],
)
def test_an_operation_that_the_suite_does_not_have(preset: str, operation: str, known: str) -> None:
    with pytest.raises(ConfigError, match=f"plan {preset} has no operation '{operation}'; it has .*{known}"):
        get_plan(preset).replace(**{operation: "x"})


def _changed(preset: str, suite: str = "", **choices: str) -> Plan:
    """A preset with choices that nobody checked; without those that are empty."""
    plan = get_plan(preset)
    named = {operation: name for operation, name in {**plan.choices, **choices}.items() if name}
    return dataclasses.replace(plan, suite=suite or plan.suite, choices=named)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (_changed("crypten", suite="fs"), "no suite 'fs'; did you mean 'fss'"),
        (
            _changed("crypten", suite="fss", linear="", truncation=""),
            "suite fss has no comparison; it has .*embedding",
        ),
        (_changed("crypten", maximum="tree"), "suite crypten has no maximum; it has .*softmax"),
        (_changed("crypten", gelu=""), "plan crypten names no protocol for gelu"),
        (_changed("crypten", truncation="faithful"), "truncation has no protocol 'faithful'.*exact, local"),
    ],
)
def test_a_plan_that_does_not_fit_its_suite(plan: Plan, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(plan)


def test_suites_are_for_their_own_suite() -> None:
    with pytest.raises(ConfigError, match="plan fss is for the suite fss, not crypten"):
        resolve(get_plan("fss"))
    with pytest.raises(ConfigError, match="plan crypten is for the suite crypten, not fss"):
        resolve_fss(get_plan("crypten"))


def test_only_a_choice_gives_anything_away_and_it_is_said() -> None:
    assert not any(disclosures(plan) for plan in PLANS.values())
    [said] = disclosures(get_plan("fss").replace(embedding="public"))
    assert said.startswith("embedding=public gives the server's whole token table to the client")
