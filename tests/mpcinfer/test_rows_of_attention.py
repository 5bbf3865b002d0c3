"""What enters a row of attention, two at a time: what was not thought through together is refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from mpcinfer.clear import ClearModel
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.public import PublicModel
from mpcinfer.models.state_cache import require_states
from mpcinfer.plans import plan_from
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.prompt_weights.weights import PromptWeights, require_weighable
from mpcinfer.public_prefix import PrefixText
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.fss.prefix_states import require_features
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import PLANS, suite_of
from parties.errors import ConfigError
from tests.mpcinfer.patterned import patterned
from tests.mpcinfer.three_parties import random_model

GPT2 = ModelConfig(
    layers=1, width=24, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=256, context=32
)
SQUARES = dataclasses.replace(GPT2, attention="power", power=2)
FSS, STATES = PLANS["fss"], plan_from("fss", ["cache=state:4"])


def _both_prefixes() -> None:
    model = random_model(GPT2)
    public = PublicModel.of(model)
    terms = SessionConfig(
        plan=FSS,
        public=public,
        public_prefix=PrefixText("ab").of(public),
        prefix=PrefixPart.none("square", public),
    )
    suite_of(FSS).ready(terms)


def _public_prefix_and_states() -> None:
    Program.of(STATES, SQUARES, random_model(SQUARES).ranges, 16, public_prefix=4)


def _weights_after_a_public_prefix() -> None:
    clear = ClearModel(random_model(GPT2), public_prefix=PrefixText("ab"))
    clear.complete("one two", max_new_tokens=1, weights=PromptWeights.of(["one"]))


@pytest.mark.parametrize(
    ("together", "says"),
    [
        (_both_prefixes, "take one of them"),
        (_public_prefix_and_states, "leave --public-prefix out"),
        (_weights_after_a_public_prefix, "not after a prefix"),
        (lambda: require_features("square", patterned(GPT2), padded=False), "not with patterns"),
        (lambda: require_states(patterned(SQUARES), 4), "not of those that patterns show"),
        (lambda: require_weighable(patterned(GPT2), private=True), "not with patterns"),
        (lambda: require_weighable(GPT2, private=True, prefixed=True), "not after a prefix"),
        (lambda: require_weighable(SQUARES, private=True), "power attention"),
        (lambda: require_states(GPT2, 4), "for attention of power 2 alone"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(together: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        together()
