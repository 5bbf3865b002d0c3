"""Every suite, and every plan, by name. A suite is one folder and one line here.

Suites of other packages name themselves under the entry point group `mpcinfer.suites`, where server, client
and helpers find them in processes of their own: `mine = "my_package.suite:MySuite"`.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from mpcinfer.suites.additive.suite import AdditiveSuite
from mpcinfer.suites.fss.suite import FssSuite
from mpcinfer.suites.suite import Suite
from mpcinfer.suites.two_party.suite import TwoPartySuite
from parties.errors import ConfigError
from protocols.plan import Plan, disclosures_of, suggest

ENTRY_POINTS = "mpcinfer.suites"
SUITES: dict[str, Suite] = {}
PLANS: dict[str, Plan] = {}


def register(suite: Suite) -> None:
    """Makes a suite and its plans known in this process.

    Raises:
        ConfigError: there is a suite or a plan of that name.
    """
    taken = sorted(({suite.name} & set(SUITES)) | (set(suite.plans) & set(PLANS)))
    if taken:
        raise ConfigError(f"suite {suite.name}: there is a suite or a plan {taken[0]!r} already")
    SUITES[suite.name] = suite
    PLANS.update(suite.plans)


register(AdditiveSuite())
register(FssSuite())
register(TwoPartySuite())
for _other in importlib.metadata.entry_points(group=ENTRY_POINTS):
    register(_other.load()())


def suite_named(name: object) -> Suite:
    """The suite of a name.

    Raises:
        ConfigError: there is none; the message has the nearest names.
    """
    if isinstance(name, str) and name in SUITES:
        return SUITES[name]
    raise ConfigError(f"no suite {name!r}; {suggest(str(name), SUITES)}")


def suite_of(plan: Plan) -> Suite:
    """The suite of a plan; errors as `suite_named`."""
    return suite_named(plan.suite)


def suite_holding(folder: Path) -> Suite:
    """The suite that a folder of correlations are for.

    Raises:
        ConfigError: there is none.
    """
    for suite in SUITES.values():
        if suite.holds(folder):
            return suite
    raise ConfigError(f"{folder}: no folder of correlations, as `mpcinfer deal` makes them")


def check(plan: Plan) -> None:
    """That everything a plan names is registered, and goes together.

    Raises:
        ConfigError: no such suite, an operation that the suite does not have, or an operation without a
            protocol of that name; the message lists those that there are. Or what the suite's own check says.
    """
    suite_of(plan).check(plan)


def disclosures(plan: Plan) -> list[str]:
    """What the plan's choices give away beyond what every run does: a sentence each.

    Raises:
        ConfigError: as `check`.
    """
    check(plan)
    return disclosures_of(plan, suite_of(plan).operations)


def get_plan(name: str) -> Plan:
    """The preset of a name.

    Raises:
        ConfigError: there is none; the message has the nearest names.
    """
    if name in PLANS:
        return PLANS[name]
    raise ConfigError(f"no plan {name!r}; {suggest(name, PLANS)}")
