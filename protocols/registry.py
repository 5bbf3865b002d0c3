"""Every suite, and every plan, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parties.errors import ConfigError
from protocols.additive import registry as additive
from protocols.fss import registry as fss
from protocols.plan import Plan, suggest


@dataclass(frozen=True, slots=True)
class Registered:
    """What a suite has.

    Attributes:
        operations: protocols by operation and name.
        plans: by name.
        check: raises ConfigError where a plan names what is not registered, or does not go together.
    """

    operations: Mapping[str, Mapping[str, object]]
    plans: Mapping[str, Plan]
    check: Callable[[Plan], None]


SUITES: dict[str, Registered] = {
    additive.NAME: Registered(additive.OPERATIONS, additive.PLANS, additive.check),
    fss.NAME: Registered(fss.OPERATIONS, fss.PLANS, fss.check),
}
PLANS: dict[str, Plan] = {name: plan for suite in SUITES.values() for name, plan in suite.plans.items()}


def check(plan: Plan) -> None:
    """That everything a plan names is registered, and goes together.

    Raises:
        ConfigError: no such suite, an operation that the suite does not have, or an operation without a
            protocol of that name; the message lists those that there are. Or what the suite's own check says.
    """
    if plan.suite not in SUITES:
        raise ConfigError(f"no suite {plan.suite!r}; {suggest(plan.suite, SUITES)}")
    SUITES[plan.suite].check(plan)


def disclosures(plan: Plan) -> list[str]:
    """What the plan's choices give away beyond what every run does: a sentence each.

    Raises:
        ConfigError: as `check`.
    """
    check(plan)
    operations = SUITES[plan.suite].operations
    said = [
        (operation, name, getattr(operations[operation][name], "reveals", ""))
        for operation, name in plan.choices.items()
    ]
    return [f"{operation}={name} {reveals}" for operation, name, reveals in said if reveals]


def get_plan(name: str) -> Plan:
    """The preset of a name.

    Raises:
        ConfigError: there is none; the message has the nearest names.
    """
    if name in PLANS:
        return PLANS[name]
    raise ConfigError(f"no plan {name!r}; {suggest(name, PLANS)}")
