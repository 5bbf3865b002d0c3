"""Encoders and heads of other kinds: their references bit by bit, near float, and billed exactly."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.counting import count
from mpcinfer.generation import Session
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.sessions.exchange import StepClient
from parties.bill import Bill
from parties.errors import ConfigError
from protocols.plan import Plan
from tests.mpcinfer.forms import ENCODER_FORM, LLAMA_FORM
from tests.mpcinfer.fss_parties import (
    EXACT,
    PROBABILISTIC,
    Whole,
    run_clear,
    run_counted,
    run_private,
    run_replayed,
)
from tests.mpcinfer.three_parties import random_model, run_model
from tests.plans import ANY_MODEL

SIZES = ModelConfig(
    layers=2, width=24, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=256, context=24
)
EMBEDDING = dataclasses.replace(SIZES, **ENCODER_FORM)
_CLASSES = {"head": "classes", "classes": 3, "head_bias": True, "pooling": "first"}
MODELS = {
    "mean": EMBEDDING,
    "first": dataclasses.replace(EMBEDDING, layers=1, pooling="first"),
    "tanh": dataclasses.replace(EMBEDDING, layers=1, **{**_CLASSES, "pooler": "tanh"}),
    "relu": dataclasses.replace(EMBEDDING, layers=1, **{**_CLASSES, "pooler": "relu"}),
    "llama": dataclasses.replace(SIZES, layers=1, **LLAMA_FORM, tied_head=False, head="classes", classes=3),
    "gpt2": dataclasses.replace(SIZES, layers=1, tied_head=False, head="classes", classes=3, head_bias=True),
}
TEXT = list(b"f(x, y)")
COSTS = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
    "setup_bytes",
    "setup_rounds",
)
models = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
both = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])


@cache
def whole(config: ModelConfig, plan: Plan) -> Whole:
    return Whole.of(random_model(config), plan, len(TEXT))


def in_float(config: ModelConfig, ids: list[int]) -> torch.Tensor:
    model = random_model(config)
    return Session(Decoder(PlainBackend(), config, model.weights)).step(ids)


def costs(bill: Bill) -> dict[str, tuple[int, ...]]:
    rows = {row.label: tuple(getattr(row, name) for name in COSTS) for row in bill.rows}
    return {label: row for label, row in rows.items() if any(row)}


@both
@models
def test_a_private_run_is_the_reference_bit_by_bit_and_costs_what_is_counted(
    config: ModelConfig, plan: Plan
) -> None:
    model = whole(config, plan)
    done = run_private(model, [TEXT])
    (expected,) = run_clear(model, [TEXT]) if plan is EXACT else run_replayed(model, [TEXT], done)
    assert torch.equal(done.logits[0], expected)
    for bill in done.bills:
        assert costs(bill) == costs(run_counted(model, [TEXT]))


@pytest.mark.parametrize("plan", ANY_MODEL.values(), ids=list(ANY_MODEL))
@models
def test_sessions_of_every_plan_are_near_float_and_cost_what_users_are_told(
    config: ModelConfig, plan: Plan
) -> None:
    model = random_model(config)
    result, bill, server_bill = run_model(model, plan, lambda steps: steps.step(TEXT), max_context=len(TEXT))
    expected = in_float(config, TEXT)
    assert tuple(result.shape) == (1, config.outputs)
    # As for logits of whole models: stated errors pass through layers that neither amplify nor damp them.
    assert float((result - expected).abs().max()) < 0.1 * max(1.0, float(expected.std()))
    told = count(config, plan, tokens=len(TEXT), ranges=model.ranges)
    assert costs(bill) == costs(told) == costs(server_bill)


def test_a_second_text_does_not_see_the_first() -> None:
    def use(steps: StepClient) -> torch.Tensor:
        steps.step([65, 66, 67])
        steps.restart()
        return steps.step(TEXT)

    result, _, _ = run_model(random_model(EMBEDDING), PROBABILISTIC, use, max_context=len(TEXT))
    assert float((result - in_float(EMBEDDING, TEXT)).abs().max()) < 0.1


@models
def test_folding_changes_nothing(config: ModelConfig) -> None:
    model = random_model(config)
    folded = Session(Decoder(PlainBackend(), *fold(config, model.weights))).step(TEXT)
    assert torch.allclose(folded, in_float(config, TEXT), atol=1e-4)


def test_every_token_of_an_encoder_sees_all_others() -> None:
    first = dataclasses.replace(EMBEDDING, pooling="first")
    changed = [*TEXT[:-1], TEXT[-1] + 1]
    assert float((in_float(first, TEXT) - in_float(first, changed)).abs().max()) > 1e-3
    causal = dataclasses.replace(first, causal=True)
    assert torch.equal(in_float(causal, TEXT), in_float(causal, changed))


def test_an_encoder_reads_whole_texts_only() -> None:
    session = Session(Decoder(PlainBackend(), EMBEDDING, random_model(EMBEDDING).weights))
    session.step(TEXT)
    with pytest.raises(ConfigError, match="whole texts"):
        session.step([65])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"head": "vocabulary", "pooling": "last"}, "vocabulary"),
        ({"attention": "relu"}, "causal"),
        ({"windows": (4, 4)}, "windows"),
        ({"parallel": True}, "parallel"),
        ({"head_bias": True}, "bias"),
        ({"final_norm": True}, "norm_order post"),
        ({"classes": 3}, "classes"),
        ({"tied_head": True}, "own weights"),
        ({"head": "classes", "classes": 3, "pooling": "mean", "pooler": "tanh"}, "mean of all"),
        ({"head": "classes", "classes": 3, "pooling": "first"}, "pooler"),
    ],
)
def test_shapes_that_are_none_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        dataclasses.replace(EMBEDDING, **changes)  # type: ignore[arg-type]
