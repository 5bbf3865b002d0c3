"""Of a whole session, everything that a party has is independent bit by bit: in pairs, in triples, in sums.

A session is set-up and two passes over one cache of keys and values; secrets stay the same, seeds are fresh. Limits
come from the number of relations that are looked at (`tests.joint`). All seeds are fixed: a test fails always or
never. Mask reuse is what this is for: `tests.controls.masks` has sessions in which every opening by itself is
uniform, and two of them differ by the difference of their secrets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache

import pytest

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.widths import Precision
from protocols.plan import Plan
from tests.controls.masks import TWICE
from tests.joint import SPARE_RUNS, Bits, Relation, linear_relation, worst_pair, worst_triple
from tests.mpcinfer.forms import LLAMA_FORM
from tests.mpcinfer.fss_parties import FAITHFUL, FREE, Steps, Whole
from tests.mpcinfer.joint_views import joint_bits, opened_low_bits, shown
from tests.mpcinfer.three_parties import random_model
from tests.mpcinfer.variant_models import FOLDED, variant_model

TINY = ModelConfig(
    layers=2, width=4, heads=1, kv_heads=1, head_width=4, hidden=4, vocabulary=256, context=12
)
"""Attention and both linear layers of an FFN are as large as the residual: masks can be mistaken for each other."""
FORMS: dict[str, ModelConfig] = {
    "gpt2": TINY,
    "llama": dataclasses.replace(TINY, **LLAMA_FORM),
    "power": dataclasses.replace(TINY, attention="power", attention_offset=True, attention_scaled=True),
}
NAMES = (*FORMS, "folded")
PLANS = {"fss": FREE, "fss-faithful": FAITHFUL}
STEPS: Steps = ([7, 250], [3])
COARSE = Precision(cells=2, exact_cells=2)
"""Keys are made and evaluated the faster; nothing else is opened."""
SEEDS = range(1, 101)
both = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


@cache
def model(name: str) -> Model:
    if name == "folded":
        return variant_model(f"{FOLDED}SM+ScFuFFN", sizes=TINY)
    return random_model(FORMS[name])


def session(name: str, plan: Plan, seeds: Sequence[int] = SEEDS) -> tuple[Bits, Bits]:
    """The server's and the client's view."""
    return joint_bits(Whole.of(model(name), plan, 3, COARSE), STEPS, seeds)


def assert_none(found: Relation) -> None:
    assert not found.is_found, str(found)


@both
@pytest.mark.parametrize("name", NAMES)
def test_no_bits_of_a_session_are_related(name: str, plan: Plan) -> None:
    for view in session(name, plan):
        assert_none(worst_pair(view))
        few = opened_low_bits(view)
        assert_none(worst_triple(few))
        groups = len(few.names) // (view.runs - 1 - SPARE_RUNS) + 1
        for first in range(groups):
            assert linear_relation(few.only(range(first, len(few.names), groups))) == ()


@pytest.mark.parametrize("twice", TWICE)
def test_masks_that_are_used_twice_are_noticed(twice: str) -> None:
    """By what is opened alone; for a linear layer, by what the server holds of its two sides."""
    with TWICE[twice]():
        server, _ = session("gpt2", FREE)
    found = worst_pair(shown(server))
    assert found.is_found, str(found)
    assert all(name.startswith(("opened", "held")) for name in found.names), str(found)
