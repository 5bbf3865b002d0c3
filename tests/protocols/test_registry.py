"""Names: what resolves, and what is said about what does not."""

from __future__ import annotations

import dataclasses

import pytest

from parties.errors import ConfigError
from protocols.plan import Plan
from protocols.registry import OPERATIONS, PLANS, get_plan, resolve


@pytest.mark.parametrize("name", PLANS)
def test_presets_resolve_under_their_own_names(name: str) -> None:
    plan = get_plan(name)
    assert plan.name == name
    resolve(plan)


def test_presets_differ() -> None:
    assert len({plan.digest() for plan in PLANS.values()}) == len(PLANS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_protocol_can_be_chosen(operation: str) -> None:
    assert operation in {field.name for field in dataclasses.fields(Plan)}
    for name in OPERATIONS[operation]:
        plan = get_plan("crypten").replace(**{operation: name})
        resolve(plan)
        assert plan.digest() != Plan(name="x").digest()


def test_an_unknown_plan() -> None:
    with pytest.raises(ConfigError, match=r"no plan 'cryptn'; did you mean 'crypten'\?.*crypten-stock"):
        get_plan("cryptn")


def test_an_unknown_protocol() -> None:
    plan = get_plan("crypten").replace(gelu="piecewse")
    with pytest.raises(
        ConfigError, match=r"gelu has no protocol 'piecewse'; did you mean 'piecewise'\?.*stock"
    ):
        resolve(plan)


def test_an_unknown_operation() -> None:
    with pytest.raises(ConfigError, match="no operation 'tanh'"):
        get_plan("crypten").replace(tanh="x")
