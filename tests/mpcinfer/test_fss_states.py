"""Power 2 over states, privately: bit by bit as its reference, near keys and values, and billed exactly."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.suites.fss.precision import Precision
from parties.randomness import InsecureTestRandom
from protocols.fss.plans import is_faithful
from protocols.plan import Plan
from tests.mpcinfer.forms import LLAMA_FORM
from tests.mpcinfer.fss_parties import (
    EXACT,
    PROBABILISTIC,
    QUICK,
    PrivateRun,
    Steps,
    Whole,
    run_clear,
    run_counted,
    run_private,
    run_replayed,
)
from tests.mpcinfer.test_fss_models import costs, equal
from tests.mpcinfer.three_parties import random_model

ONE = ModelConfig(
    layers=1, width=24, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=256, context=24
)
POWER = dataclasses.replace(ONE, attention="power", power=2, attention_epsilon=1e-2)
FORMS = {
    "plain": POWER,
    "offset": dataclasses.replace(POWER, attention_offset=True),
    "shift, grouped": dataclasses.replace(POWER, heads=4, **LLAMA_FORM, attention_shift=2.0),
    "offset, grouped, scaled": dataclasses.replace(
        POWER, heads=4, **LLAMA_FORM, attention_offset=True, attention_scaled=True
    ),
}
STEPS: Steps = (list(b"f(x, y"), [41], [58], [10], [32])
MAX_CONTEXT = sum(len(ids) for ids in STEPS)
forms = pytest.mark.parametrize("name", FORMS)
plans = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])
chunks = pytest.mark.parametrize("chunk", [1, 3])


@cache
def calibrated(name: str) -> Model:
    """A random model that has seen what follows."""
    model = random_model(FORMS[name])
    text = model.tokenizer.decode([token for step in STEPS for token in step])
    return dataclasses.replace(model, ranges=calibrate(model, [text, "return x + 1"]))


@cache
def whole(name: str, plan: Plan, chunk: int, precision: Precision | None = None) -> Whole:
    plan = dataclasses.replace(plan, chunk=chunk)
    return Whole.of(calibrated(name), plan, MAX_CONTEXT, precision or QUICK)


@cache
def private(name: str, plan: Plan, chunk: int) -> PrivateRun:
    return run_private(whole(name, plan, chunk), STEPS)


@forms
@plans
@chunks
def test_a_run_over_a_state_is_its_reference_bit_by_bit(name: str, plan: Plan, chunk: int) -> None:
    done, model = private(name, plan, chunk), whole(name, plan, chunk)
    reference = run_clear(model, STEPS) if is_faithful(plan) else run_replayed(model, STEPS, done)
    assert len(done.logits) == len(STEPS)
    assert equal(done.logits, reference)


@forms
@plans
def test_both_parties_measure_what_is_counted(name: str, plan: Plan) -> None:
    counted = run_counted(whole(name, plan, 3), STEPS)
    assert any(".state" in row.label for row in counted.rows)
    for bill in private(name, plan, 3).bills:
        assert costs(bill) == costs(counted)


@forms
@plans
def test_it_is_near_keys_and_values(name: str, plan: Plan) -> None:
    """As of all backends: a tenth of the logits' spread, and no further off than twice what they are."""
    model = calibrated(name)
    plain = Decoder(PlainBackend(), model.config, model.weights)
    text = [token for step in STEPS for token in step]
    right = plain.forward(torch.tensor([text]), len(text), rows=1).reshape(-1)
    rounding = None if is_faithful(plan) else InsecureTestRandom(5)
    logits = run_clear(whole(name, plan, 3, Precision()), STEPS, rounding)[-1]
    assert float((logits - right).abs().max()) < 0.1 * float(right.std())
