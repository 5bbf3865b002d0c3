"""A whole inference opens nothing but what `tests/openings.txt` lists."""

from __future__ import annotations

import dataclasses

import pytest

from mpcinfer.models.attention_state import FeatureMap
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import PLANS
from parties.channel import Channel
from parties.documents import from_bytes
from parties.link import MAX_DOCUMENT_BYTES
from parties.wire import Frame
from protocols.plan import Plan
from tests.mpcinfer.patterned import patterned
from tests.mpcinfer.test_encoders import EMBEDDING
from tests.mpcinfer.test_encoders import MODELS as ENCODERS
from tests.mpcinfer.test_polynomial import gpt2 as polynomial
from tests.mpcinfer.test_private_models import GPT2, LLAMA
from tests.mpcinfer.three_parties import random_model, run_model
from tests.openings import listed, reason
from tests.plans import ANY_MODEL
from tests.protocols.additive.crypten.conftest import Recorder

BATCHES = {
    "gpt2": GPT2,
    "windows": dataclasses.replace(LLAMA, layers=1, windows=(3,)),
    "mean": EMBEDDING,
    "classes": ENCODERS["tanh"],
}
POLYNOMIAL = {
    "beaver.mul",
    "beaver.matmul",
    "beaver.square",
    "linear",
    "linear.transposed",
    "weight",
    "output",
}
"""Additions and products alone: nothing is compared, so no bits are opened."""


def _is_document(frame: Frame) -> bool:
    """Plain values: lengths, tokens' counts, bills. They are never shares: a share is no map."""
    if [spec.bits for spec in frame.specs] != [8]:
        return False
    return isinstance(from_bytes(frame.payload[0], MAX_DOCUMENT_BYTES), dict)


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
@pytest.mark.parametrize("plan", ANY_MODEL.values(), ids=list(ANY_MODEL))
def test_every_frame_has_a_listed_reason(config: ModelConfig, plan: Plan) -> None:
    frames_with_reasons(config, plan, check_ranges=False)


@pytest.mark.parametrize("config", [EMBEDDING, ENCODERS["tanh"]], ids=["embedding", "classes"])
@pytest.mark.parametrize("plan", ["fss", "crypten"])
def test_so_has_every_frame_of_an_encoder(config: ModelConfig, plan: str) -> None:
    frames_with_reasons(config, PLANS[plan], check_ranges=False)


@pytest.mark.parametrize("plan", ["fss", "fss-faithful", "crypten"])
def test_so_has_every_frame_of_capped_scores(plan: str) -> None:
    capped = dataclasses.replace(LLAMA, score_cap=5.0, logit_cap=3.0)
    opened = frames_with_reasons(capped, PLANS[plan], check_ranges=False)
    assert any("attn.cap/" in label for label in opened)


@pytest.mark.parametrize("plan", ["fss", "fss-faithful", "crypten", "two-party"])
def test_so_has_every_frame_of_key_patterns(plan: str) -> None:
    frames_of(random_model(patterned(dataclasses.replace(GPT2, layers=1))), PLANS[plan])


@pytest.mark.parametrize("plan", ["fss", "fss-faithful"])
@pytest.mark.parametrize("features", ["square", "pairs"])
def test_so_has_every_frame_of_a_prefix_adapter(features: FeatureMap, plan: str) -> None:
    config = dataclasses.replace(GPT2, layers=1)
    power = dataclasses.replace(config, attention="power", power=2)
    model = random_model(power if features == "pairs" else config)
    part = PrefixPart.none(features, PublicModel.of(model))
    opened = frames_of(model, PLANS[plan], prefix=(part, part))
    assert any(label.startswith("state/") for label in opened)


@pytest.mark.parametrize("plan", ["fss", "crypten"])
@pytest.mark.parametrize("config", BATCHES.values(), ids=BATCHES)
def test_so_has_every_frame_of_a_padded_batch(config: ModelConfig, plan: str) -> None:
    frames_with_reasons(config, PLANS[plan], check_ranges=False, batch=Batch(2, padded=True))


@pytest.mark.parametrize("plan", ["fss", "crypten", "two-party"])
def test_so_has_every_frame_of_a_padded_prompt(plan: str) -> None:
    frames_with_reasons(GPT2, PLANS[plan], check_ranges=False, batch=Batch(1, padded=True))


def test_so_has_every_frame_where_ranges_are_checked() -> None:
    opened = frames_with_reasons(GPT2, PLANS["fss"], check_ranges=True)
    outputs = [label for label in opened if label.endswith("/output")]
    assert sorted(outputs) == ["check.output/output", "output/output"]


def test_so_has_every_frame_of_a_polynomial_model() -> None:
    opened = frames_of(polynomial(), PLANS["poly"])
    assert {reason(label, "crypten") for label in opened} == POLYNOMIAL


def frames_with_reasons(
    config: ModelConfig, plan: Plan, *, check_ranges: bool, batch: Batch = SINGLE
) -> set[str]:
    """Runs a pass of one layer; the labels of what was opened in it."""
    model = random_model(dataclasses.replace(config, layers=1))
    return frames_of(model, plan, check_ranges=check_ranges, batch=batch)


def frames_of(
    model: Model,
    plan: Plan,
    *,
    check_ranges: bool = False,
    batch: Batch = SINGLE,
    prefix: tuple[PrefixPart, PrefixPart] | None = None,
) -> set[str]:
    """Runs a pass, and a token after it where there are any; the labels of what was opened."""
    recorders: list[Recorder] = []

    def wrap(channel: Channel, rank: int) -> Channel:
        recorders.append(Recorder(channel))
        return recorders[-1]

    def use(steps: StepClient) -> None:
        if batch.padded:
            steps.pad([0, 2][-batch.size :])
        steps.step([1, 2, 3] * batch.size, 1 if batch.several else 2)
        if batch.several and model.config.causal:
            steps.step([4] * batch.size)

    run_model(model, plan, use, wrap, check_ranges=check_ranges, batch=batch, prefix=prefix)
    frames = [frame for recorder in recorders for frame in (*recorder.sent, *recorder.received)]
    opened = [frame.label for frame in frames if "/" in frame.label]
    assert all(_is_document(frame) for frame in frames if "/" not in frame.label)
    assert {reason(label, plan.suite) for label in opened} <= set(listed(plan.suite))
    assert any(label.endswith("/output") for label in opened)
    return set(opened)
