"""A token that no calibration prompt has, with a row eight times larger: privately as in the clear."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import get_plan
from parties.errors import RangeError
from protocols.plan import Plan
from tests.mpcinfer.fss_parties import EXACT, PROBABILISTIC, Whole, run_clear, run_private
from tests.mpcinfer.test_fss_models import MODELS
from tests.mpcinfer.three_parties import random_model, run_model

RARE = 200
FACTOR = 8.0
PROMPT = [*b"f(x", RARE, *b"y"]
SEEDS = (1, 2)
models = pytest.mark.parametrize("name", ["gpt2", "llama"])


@cache
def rare_model(config: ModelConfig) -> Model:
    model = random_model(config)
    table = model.weights["embed.tokens"].clone()
    table[RARE] *= FACTOR
    model = dataclasses.replace(model, weights={**model.weights, "embed.tokens": table})
    return dataclasses.replace(model, ranges=calibrate(model, ["def f(x):", "return x + 1"]))


def whole(name: str, plan: Plan) -> Whole:
    return Whole.of(rare_model(MODELS[name]), plan, len(PROMPT))


@models
def test_its_answer_is_the_references_bit_by_bit(name: str) -> None:
    model = whole(name, EXACT)
    (reference,) = run_clear(model, [PROMPT])
    for seed in SEEDS:
        (logits,) = run_private(model, [PROMPT], seed=seed).logits
        assert torch.equal(logits, reference)


@models
def test_probabilistic_truncation_gives_the_same_likeliest_token(name: str) -> None:
    (reference,), model = run_clear(whole(name, EXACT), [PROMPT]), whole(name, PROBABILISTIC)
    for seed in SEEDS:
        (logits,) = run_private(model, [PROMPT], seed=seed).logits
        assert int(logits.argmax()) == int(reference.argmax())


def test_a_server_refuses_ranges_that_do_not_hold_it() -> None:
    """What prompts alone show, as files from before have it; the session ends before anything is sent."""
    model = rare_model(MODELS["llama"])
    seen = float(model.weights["embed.tokens"][:128].abs().max())
    narrow = dataclasses.replace(model, ranges={**model.ranges, "embedding/embed": seen})

    def use(steps: StepClient) -> torch.Tensor:
        return steps.step(PROMPT)

    with pytest.raises(RangeError, match=rf"token {RARE} .*mpcinfer calibrate"):
        run_model(narrow, get_plan("fss"), use)
