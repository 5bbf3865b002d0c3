"""The plans that tests of any model are run under."""

from __future__ import annotations

import pytest

from mpcinfer.suites.registry import PLANS, suite_of

ANY_MODEL = {name: plan for name, plan in PLANS.items() if not suite_of(plan).is_polynomial(plan)}
"""Plans that run softmax attention; polynomial ones have tests of their own (`test_polynomial`)."""

any_run = pytest.mark.parametrize(
    "plan",
    [
        pytest.param(plan, id=name, marks=pytest.mark.long if plan.suite == "two-party" else ())
        for name, plan in ANY_MODEL.items()
    ],
)
"""The same for tests that run sessions: `test_two_party_models` has quick ones of the suite two-party."""
