"""Rehearsals run for every form of model and every plan of the engine, and encode what a session reads."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.models.public import PublicModel
from mpcinfer.models.variants import variant
from mpcinfer.sessions.terms import Terms
from mpcinfer.suites.fss.connect import encoded_weights
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.ready import ready, rehearse, rehearse_dealing
from mpcinfer.suites.registry import PLANS, get_plan
from parties.errors import ConfigError
from tests.mpcinfer.test_private_models import GPT2, LLAMA, RELU
from tests.mpcinfer.three_parties import random_model

FSS = [name for name, plan in PLANS.items() if plan.suite == "fss"]


@pytest.mark.parametrize("plan", FSS)
@pytest.mark.parametrize("config", [GPT2, LLAMA, RELU], ids=["gpt2", "llama", "relu"])
def test_every_form_can_be_rehearsed(plan: str, config: ModelConfig) -> None:
    rehearse(get_plan(plan), config, {})


@pytest.mark.parametrize("name", ["SM+SNorm", "SM+WNorm", "SM(t)+ScFuFFN", "power4"])
def test_what_is_divided_in_a_rehearsal_is_not_zero(name: str) -> None:
    rehearse(get_plan("fss"), variant(name, GPT2), {})


@pytest.mark.parametrize("name", ["tiny-python", "smollm2-135m-instruct"])
def test_models_at_hand_can_be_rehearsed(name: str) -> None:
    rehearse(get_plan("fss"), load_config(name), load_ranges_of(name))


def test_a_dealer_can_rehearse() -> None:
    rehearse_dealing()


def test_a_server_encodes_its_weights_once() -> None:
    model = random_model(RELU)
    terms = ready(Terms(plan=get_plan("fss"), public=PublicModel.of(model), weights=model.weights))
    program = Program.of(get_plan("fss"), model.config, model.ranges)
    assert terms.encoded is not None
    for name, expected in encoded_weights(program, model.weights).items():
        assert torch.equal(terms.encoded[name].value, expected.value)


def test_a_model_without_ranges_is_refused_before_anybody_is_met() -> None:
    model = dataclasses.replace(random_model(RELU), ranges={})
    with pytest.raises(ConfigError, match="never calibrated"):
        ready(Terms(plan=get_plan("fss"), public=PublicModel.of(model)))
