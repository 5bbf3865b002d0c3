"""A plan as users name it."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.suites.registry import check, get_plan
from parties.errors import ConfigError
from protocols.plan import Plan


def plan_from(name: str, choices: Sequence[str] | None = None) -> Plan:
    """The preset called `name` with some operations' protocols replaced.

    Args:
        choices: `operation=protocol`, each.

    Raises:
        ConfigError: no such preset, operation or protocol; the known ones are listed.
    """
    plan = get_plan(name)
    replaced: dict[str, str] = {}
    for choice in choices or ():
        operation, equals, protocol = choice.partition("=")
        if not equals or not operation or not protocol:
            raise ConfigError(f"expected OPERATION=PROTOCOL, got {choice!r}")
        replaced[operation] = protocol
    plan = plan.replace(**replaced) if replaced else plan
    check(plan)
    return plan
