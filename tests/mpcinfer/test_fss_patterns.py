"""Key patterns on the FSS suite: the reference bit by bit, billed exactly, and less than without them."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.fss.precision import Precision
from parties.bill import BillRow
from protocols.fss.plans import is_faithful
from protocols.plan import Plan
from tests.mpcinfer.forms import LLAMA_FORM
from tests.mpcinfer.fss_parties import (
    EXACT,
    PROBABILISTIC,
    PrivateRun,
    Whole,
    run_clear,
    run_counted,
    run_private,
    run_replayed,
)
from tests.mpcinfer.patterned import ALL, patterned
from tests.mpcinfer.test_fss_models import GPT2, MAX_CONTEXT, ONE, PROMPT, STEPS, costs, equal
from tests.mpcinfer.three_parties import random_model

LLAMA = dataclasses.replace(ONE, heads=4, kv_heads=2, **LLAMA_FORM, tied_head=False)
RELU = dataclasses.replace(ONE, activation="relu", norm="rmsnorm", tied_head=False)
MODELS = {
    "softmax": patterned(GPT2),
    "dropped": patterned(LLAMA, dropped=True),
    "capped": patterned(dataclasses.replace(LLAMA, score_cap=5.0)),
    "power4": patterned(
        dataclasses.replace(
            RELU,
            heads=3,
            kv_heads=3,
            attention="power",
            attention_epsilon=0.1,
            attention_offset=True,
            attention_scaled=True,
        ),
        dropped=True,
    ),
    "relu": patterned(dataclasses.replace(RELU, attention="relu"), dropped=True),
    "gaussian": patterned(dataclasses.replace(RELU, attention="gaussian")),
}
models = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
plans = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])


@cache
def whole(config: ModelConfig, plan: Plan) -> Whole:
    return Whole.of(random_model(config), plan, MAX_CONTEXT)


@cache
def private(config: ModelConfig, plan: Plan) -> PrivateRun:
    return run_private(whole(config, plan), STEPS)


def online(row: BillRow) -> int:
    return row.online_bytes_to_server + row.online_bytes_to_client


@plans
@models
def test_a_run_is_the_reference_bit_by_bit(config: ModelConfig, plan: Plan) -> None:
    done, model = private(config, plan), whole(config, plan)
    reference = run_clear(model, STEPS) if is_faithful(plan) else run_replayed(model, STEPS, done)
    assert equal(done.logits, reference)


@plans
@models
def test_both_parties_measure_what_is_counted_label_by_label(config: ModelConfig, plan: Plan) -> None:
    counted = run_counted(whole(config, plan), STEPS)
    for bill in private(config, plan).bills:
        assert costs(bill) == costs(counted)


@plans
def test_that_is_what_users_are_told(plan: Plan) -> None:
    config = MODELS["dropped"]
    model = Whole.of(random_model(config), plan, MAX_CONTEXT, Precision())
    told = count(config, plan, tokens=len(PROMPT), new_tokens=len(STEPS), ranges=model.model.ranges)
    assert costs(told) == costs(run_counted(model, STEPS))


def test_a_run_does_not_depend_on_how_tokens_are_cut_into_passes() -> None:
    model, ids = whole(MODELS["dropped"], EXACT), [token for step in STEPS for token in step]
    assert torch.equal(run_clear(model, [ids])[-1], run_clear(model, STEPS)[-1])


@plans
@models
def test_patterns_that_see_all_are_none(config: ModelConfig, plan: Plan) -> None:
    """The logits of the plan that rounds down; and the bytes, but for the last bits of blocks."""
    everything = dataclasses.replace(config, patterns=((ALL,) * config.heads,) * config.layers)
    without = dataclasses.replace(config, patterns=())
    if is_faithful(plan):
        own, other = (run_clear(whole(each, plan), STEPS) for each in (everything, without))
        assert equal(own, other)
    bills = [count(each, plan, tokens=20, new_tokens=2).total for each in (everything, without)]
    assert bills[0].rounds == bills[1].rounds
    # Packed bits of all heads end on a byte together, of blocks each for itself: two passes, few messages.
    assert online(bills[0]) == pytest.approx(online(bills[1]), abs=64 * config.layers)


@plans
@models
def test_what_is_not_seen_is_not_paid_for(config: ModelConfig, plan: Plan) -> None:
    shapes = (config, dataclasses.replace(config, patterns=()))
    few, every = (count(each, plan, tokens=20, new_tokens=2).total for each in shapes)
    assert online(few) < online(every)
    assert few.offline_bytes_to_server < every.offline_bytes_to_server
    assert few.offline_bytes_to_client <= every.offline_bytes_to_client
    assert few.rounds <= every.rounds
