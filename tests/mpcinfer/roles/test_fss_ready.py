"""Warm-ups run for every form of model and every plan of the suite, and encode what a session reads."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.models.public import PublicModel
from mpcinfer.models.variants import variant
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.fss.connect import encoded_weights
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.ready import ready, warm_up, warm_up_dealing
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError
from tests.mpcinfer.test_private_models import GPT2, LLAMA, RELU
from tests.mpcinfer.three_parties import random_model
from tests.plans import ANY_MODEL

FSS = [name for name, plan in ANY_MODEL.items() if plan.suite == "fss"]


@pytest.mark.parametrize("plan", FSS)
@pytest.mark.parametrize("config", [GPT2, LLAMA, RELU], ids=["gpt2", "llama", "relu"])
def test_every_form_can_be_warmed_up(plan: str, config: ModelConfig) -> None:
    warm_up(get_plan(plan), config, {})


@pytest.mark.parametrize("name", ["SM+SNorm", "SM+WNorm", "SM(t)+ScFuFFN", "power4"])
def test_what_is_divided_in_a_warm_up_is_not_zero(name: str) -> None:
    warm_up(get_plan("fss"), variant(name, GPT2), {})


@pytest.mark.parametrize("name", ["tiny-python", "smollm2-135m-instruct"])
def test_models_at_hand_can_be_warmed_up(name: str) -> None:
    warm_up(get_plan("fss"), load_config(name), load_ranges_of(name))


def test_a_dealer_can_warm_up() -> None:
    warm_up_dealing()


def test_a_server_encodes_its_weights_once() -> None:
    model = random_model(RELU)
    session_config = ready(
        SessionConfig(plan=get_plan("fss"), public=PublicModel.of(model), weights=model.weights)
    )
    program = Program.of(get_plan("fss"), model.config, model.ranges)
    assert session_config.encoded is not None
    for name, expected in encoded_weights(program, model.weights).items():
        assert torch.equal(session_config.encoded[name].value, expected.value)


def test_a_model_without_ranges_is_refused_before_anybody_is_met() -> None:
    model = dataclasses.replace(random_model(RELU), ranges={})
    with pytest.raises(ConfigError, match="never calibrated"):
        ready(SessionConfig(plan=get_plan("fss"), public=PublicModel.of(model)))
