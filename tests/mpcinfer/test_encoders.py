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
from mpcinfer.suites.registry import suite_of
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
from tests.plans import ANY_MODEL, any_run

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
    "pair": dataclasses.replace(EMBEDDING, layers=1, **{**_CLASSES, "pooler": "tanh", "types": 3}),
    "llama": dataclasses.replace(SIZES, layers=1, **LLAMA_FORM, tied_head=False, head="classes", classes=3),
    "parallel": dataclasses.replace(
        SIZES,
        layers=1,
        positions="rope",
        rope_width=4,
        parallel=True,
        tied_head=False,
        head="classes",
        classes=3,
    ),
    "norms of heads": dataclasses.replace(
        SIZES, layers=1, **LLAMA_FORM, qk_norm=True, tied_head=False, head="classes", classes=3
    ),
    "gpt2": dataclasses.replace(SIZES, layers=1, tied_head=False, head="classes", classes=3, head_bias=True),
}
TEXT = list(b"f(x, y)")
PAIR = [*TEXT[:3], *(token + 256 for token in TEXT[3:5]), *(token + 512 for token in TEXT[5:])]
"""The same tokens, of types 0, 1 and 2."""
COSTS = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
    "setup_bytes",
    "offline_rounds",
    "setup_rounds",
)
models = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
both = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])


def text_for(config: ModelConfig) -> list[int]:
    return TEXT if config.types == 1 else PAIR


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
    model, text = whole(config, plan), text_for(config)
    done = run_private(model, [text])
    (expected,) = run_clear(model, [text]) if plan is EXACT else run_replayed(model, [text], done)
    assert torch.equal(done.logits[0], expected)
    for bill in done.bills:
        assert costs(bill) == costs(run_counted(model, [text]))


@any_run
@models
def test_sessions_of_every_plan_are_near_float_and_cost_what_users_are_told(
    config: ModelConfig, plan: Plan
) -> None:
    model, text = random_model(config), text_for(config)
    result, bill, server_bill = run_model(model, plan, lambda steps: steps.step(text), max_context=len(text))
    expected = in_float(config, text)
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
    text = text_for(config)
    folded = Session(Decoder(PlainBackend(), *fold(config, model.weights))).step(text)
    assert torch.allclose(folded, in_float(config, text), atol=1e-4)


@pytest.mark.parametrize("plan", ANY_MODEL.values(), ids=list(ANY_MODEL))
def test_types_cost_one_entry_of_a_row_each_and_no_round(plan: Plan) -> None:
    pair = MODELS["pair"]
    with_types, without = (count(each, plan, tokens=7) for each in (pair, MODELS["tanh"]))
    assert with_types.total.rounds == without.total.rounds
    if plan.choices.get("linear") == "beaver":  # products open the table, pass by pass
        return
    if suite_of(plan).helpers:  # with nobody else, weights stay where they are
        two_rows = 2 * pair.width * 8
        assert 0 < with_types.total.setup_bytes - without.total.setup_bytes <= two_rows
    both = (bill.total.online_bytes_to_server for bill in (with_types, without))
    more = next(both) - next(both)
    assert 0 < more <= 2 * len(PAIR) * 8


def test_types_are_read() -> None:
    pair = MODELS["pair"]
    apart = (in_float(pair, PAIR) - in_float(pair, TEXT)).abs().max()
    assert float(apart) > 1e-3
    private, _, _ = run_model(random_model(pair), EXACT, lambda steps: steps.step(PAIR), max_context=7)
    assert float((private - in_float(pair, PAIR)).abs().max()) < float(apart) / 4


def test_a_public_table_has_types_too() -> None:
    pair, plan = MODELS["pair"], PROBABILISTIC.replace(embedding="public")
    model = random_model(pair)
    result, bill, _ = run_model(model, plan, lambda steps: steps.step(PAIR), max_context=len(PAIR))
    assert float((result - in_float(pair, PAIR)).abs().max()) < 0.1
    assert costs(bill) == costs(count(pair, plan, tokens=len(PAIR), ranges=model.ranges))


def test_a_bill_of_a_text_that_is_too_long_speaks_of_no_answer() -> None:
    with pytest.raises(ConfigError, match=r"^600 tokens of a text do not fit the context of 24$"):
        count(EMBEDDING, PROBABILISTIC, tokens=600)
    with pytest.raises(ConfigError, match="30 tokens of a prompt and 2 of its answer"):
        count(SIZES, PROBABILISTIC, tokens=30, new_tokens=2)
    for config in (EMBEDDING, MODELS["gpt2"]):
        with pytest.raises(ConfigError, match="generates none"):
            count(config, PROBABILISTIC, tokens=4, new_tokens=2)


def test_every_token_of_an_encoder_sees_all_others() -> None:
    first = dataclasses.replace(EMBEDDING, pooling="first")
    changed = [*TEXT[:-1], TEXT[-1] + 1]
    assert float((in_float(first, TEXT) - in_float(first, changed)).abs().max()) > 1e-3
    rows = [in_stack(dataclasses.replace(EMBEDDING, causal=True), ids) for ids in (TEXT, changed)]
    assert torch.equal(rows[0][:-1], rows[1][:-1])


def in_stack(config: ModelConfig, ids: list[int]) -> torch.Tensor:
    """All rows after the blocks, [T, D]."""
    decoder = Decoder(PlainBackend(), config, random_model(config).weights)
    return decoder.stack(decoder.embedding(torch.tensor([ids])))[0]


@models
def test_one_row_of_the_last_block_is_that_of_all_rows(config: ModelConfig) -> None:
    text, weights = text_for(config), random_model(config).weights
    decoder = Decoder(PlainBackend(), config, weights)
    rows = in_stack(config, text)
    row = {"mean": rows, "first": rows[:1], "last": rows[-1:]}[config.pooling]
    whole = decoder.of_sum(decoder.head(row[None])[0], len(text))
    assert torch.allclose(whole, in_float(config, text), atol=1e-5)


def test_blocks_without_further_rows_cost_less_after_the_last_keys() -> None:
    """A row of T: the last block's scores and FFN shrink to 1 / T, its keys and values do not."""
    first, mean = MODELS["first"], dataclasses.replace(MODELS["first"], pooling="mean")
    rows = [
        {row.label: row.online_bytes_to_server for row in count(each, PROBABILISTIC, tokens=8).rows}
        for each in (first, mean)
    ]
    assert rows[0]["layer0.ffn.gelu"] * 8 == pytest.approx(rows[1]["layer0.ffn.gelu"], rel=0.02)
    assert rows[0]["layer0.attn.scores"] * 8 == pytest.approx(rows[1]["layer0.attn.scores"], rel=0.02)


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
        ({"types": 2}, "types"),
        ({"tied_head": True}, "own weights"),
        ({"head": "classes", "classes": 3, "pooling": "mean", "pooler": "tanh"}, "mean of all"),
        ({"head": "classes", "classes": 3, "pooling": "first"}, "pooler"),
        ({"pooling": "first", "causal": True}, "causal"),
    ],
)
def test_shapes_that_are_none_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        dataclasses.replace(EMBEDDING, **changes)  # type: ignore[arg-type]
