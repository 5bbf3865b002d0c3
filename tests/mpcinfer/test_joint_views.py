"""Of a whole session, all that a party has is independent bit by bit: in pairs, in triples, in sums.

A session is set-up and two passes over one cache of keys and values; secrets stay the same, seeds are fresh.
Limits come from the number of relations that are looked at (`tests.joint`). All seeds are fixed: a test fails
always or never. Mask reuse is what this is for: `tests.controls.masks` has sessions in which every opening by
itself is uniform, and two of them differ by the difference of their secrets.
"""

from __future__ import annotations

import pytest

from tests.controls.masks import TWICE
from tests.mpcinfer.joint_sessions import CHECKED, NAMES, PLANS, relation_where_masks_are_used, relations

FORMS = {
    # Probabilistic truncation rounds an index at random: what a look-up finds has no fixed lowest bit there.
    "for a look-up's value and its sign": ("power", "fss-faithful"),
    "for weights of both evaluations": (CHECKED, "fss"),
}
"""Of the sessions in which masks are used twice there; of others `gpt2` under `fss`."""


SHORT = {("gpt2", "fss"), ("power", "fss-faithful"), (CHECKED, "fss")}
CASES = [
    pytest.param(name, plan, marks=() if (name, plan) in SHORT else pytest.mark.long)
    for name in NAMES
    for plan in PLANS
]
FIRST = "for equal shapes and widths"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "plan"), CASES)
def test_no_bits_of_a_session_are_related(name: str, plan: str) -> None:
    for found in relations(name, plan):
        assert not found.pair.is_found, str(found.pair)
        assert not found.triple.is_found, str(found.triple)
        assert found.linear == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "twice", [FIRST, *(pytest.param(each, marks=pytest.mark.long) for each in TWICE if each != FIRST)]
)
def test_masks_that_are_used_twice_are_noticed(twice: str) -> None:
    """Where no party looks at its own masks: two things that others show the server agree in every run."""
    form = FORMS.get(twice, ("gpt2", "fss"))
    found = relation_where_masks_are_used(twice, *form)
    assert found.is_found, str(found)
