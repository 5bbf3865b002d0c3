"""The plans that tests of any model are run under."""

from __future__ import annotations

from mpcinfer.suites.registry import PLANS, suite_of

ANY_MODEL = {name: plan for name, plan in PLANS.items() if not suite_of(plan).is_polynomial(plan)}
"""Plans that run softmax attention; polynomial ones have tests of their own (`test_polynomial`)."""
