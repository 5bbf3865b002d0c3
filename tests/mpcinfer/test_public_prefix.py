"""Private runs after a public prefix: their references bit by bit, billed exactly, nothing opened for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from mpcinfer.counting import count
from mpcinfer.generation import Session
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.bounds import rounding_of_logits
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.prefix_run import run_prefix
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import PLANS, suite_of
from parties.bill import Bill
from parties.channel import Channel
from protocols.plan import Plan
from tests.mpcinfer.forms import LLAMA_FORM
from tests.mpcinfer.patterned import patterned
from tests.mpcinfer.three_parties import random_model, run_model
from tests.openings import listed, reason
from tests.protocols.additive.crypten.conftest import Recorder

GPT2 = ModelConfig(
    layers=2, width=24, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=256, context=32
)
LLAMA = dataclasses.replace(GPT2, **LLAMA_FORM, heads=4, tied_head=False)
MODELS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "windows": dataclasses.replace(LLAMA, windows=(3, 0)),
    "power": dataclasses.replace(GPT2, attention="power", power=2, attention_scaled=True),
    "temperature": dataclasses.replace(GPT2, temperature="position"),
    "normed heads": dataclasses.replace(LLAMA, qk_norm=True),
    "patterns": patterned(dataclasses.replace(GPT2, layers=1, heads=4)),
    "dropped heads": patterned(LLAMA, dropped=True),
}
PREFIX = tuple(b"import os\n")
STEPS: Sequence[Sequence[int]] = (list(b"f(x)"), [41], [58])
EXACT, FSS, CRYPTEN = PLANS["fss-faithful"], PLANS["fss"], PLANS["crypten"]
MAX_CONTEXT = 24
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


def private(
    model: Model,
    plan: Plan,
    *,
    check_ranges: bool = False,
    batch: Batch = SINGLE,
    again: bool = False,
    public_prefix: Sequence[int] = PREFIX,
) -> tuple[list[torch.Tensor], Bill]:
    """The client's logits, step by step, and its bill.

    Args:
        again: the steps once more, after all tokens but the prefix were forgotten.
    """

    def use(steps: StepClient) -> list[torch.Tensor]:
        logits: list[torch.Tensor] = []
        for _ in range(1 + again):
            steps.restart()
            logits += [steps.step([*ids] * batch.size) for ids in STEPS]
        return logits

    room = None if plan.suite == "crypten" else MAX_CONTEXT
    logits, bill, _ = run_model(
        model,
        plan,
        use,
        max_context=room,
        check_ranges=check_ranges,
        batch=batch,
        public_prefix=public_prefix,
    )
    return logits, bill


def reference(model: Model, plan: Plan, public_prefix: Sequence[int] = PREFIX) -> list[torch.Tensor]:
    suite = suite_of(plan)
    run = run_prefix(model.config, model.weights, public_prefix, model.ranges)
    decoder = suite.reference(model, plan, max_context=MAX_CONTEXT)
    session = Session(decoder, suite.reference_cache(decoder, run))
    return [session.step(ids) for ids in STEPS]


def counted(model: Model, plan: Plan, **settings: object) -> Bill:
    room = None if plan.suite == "crypten" else MAX_CONTEXT
    return count(
        model.config,
        plan,
        tokens=len(STEPS[0]),
        new_tokens=len(STEPS),
        ranges=model.ranges,
        max_context=room,
        public_prefix_tokens=len(PREFIX),
        **settings,  # type: ignore[arg-type]
    )


def costs(bill: Bill) -> dict[str, tuple[int, ...]]:
    rows = {row.label: tuple(getattr(row, name) for name in COSTS) for row in bill.rows}
    return {label: row for label, row in rows.items() if any(row) and not label.startswith("session")}


@models
def test_a_exact_run_after_a_prefix_is_the_reference_bit_by_bit_and_as_counted(config: ModelConfig) -> None:
    model = random_model(config)
    logits, bill = private(model, EXACT)
    expected = reference(model, EXACT)
    assert all(torch.equal(a, b) for a, b in zip(logits, expected, strict=True))
    assert costs(bill) == costs(counted(model, EXACT))


@models
def test_the_reference_after_a_prefix_is_near_the_whole_text(config: ModelConfig) -> None:
    """Two evaluations of the same text that round otherwise; of another prefix logits are others."""
    model = random_model(config)
    whole = Session(suite_of(EXACT).reference(model, EXACT, max_context=MAX_CONTEXT))
    texts = whole.step([*PREFIX, *STEPS[0]])
    after, other = reference(model, EXACT)[0], reference(model, EXACT, PREFIX[::-1])[0]
    allowed = rounding_of_logits(model.ranges)
    assert (after - texts).abs().max() <= allowed
    assert (other - texts).abs().max() > allowed


@pytest.mark.parametrize("plan", [FSS, CRYPTEN], ids=["fss", "crypten"])
@pytest.mark.parametrize("name", ["gpt2", "windows"])
def test_other_plans_are_within_rounding_of_their_references_and_as_counted(name: str, plan: Plan) -> None:
    model = random_model(MODELS[name])
    logits, bill = private(model, plan)
    allowed = suite_of(plan).rounding_of_logits(plan, model.ranges)
    for found, expected in zip(logits, reference(model, plan), strict=True):
        assert (found - expected).abs().max() <= allowed
    assert costs(bill) == costs(counted(model, plan))


def test_a_prefix_is_masked_where_weights_are_multiplied_under_encryption() -> None:
    model, plan = random_model(dataclasses.replace(GPT2, layers=1)), EXACT.replace(linear="rlwe")
    logits, bill = private(model, plan)
    assert all(torch.equal(a, b) for a, b in zip(logits, reference(model, plan), strict=True))
    assert costs(bill) == costs(counted(model, plan))
    assert {row.label for row in bill.rows if row.setup_bytes} == {"setup"}


def test_what_is_forgotten_is_the_prompt_and_never_the_prefix() -> None:
    model = random_model(GPT2)
    logits, _ = private(model, EXACT, again=True)
    expected = reference(model, EXACT)
    assert all(torch.equal(a, b) for a, b in zip(logits, [*expected, *expected], strict=True))


def test_a_checked_run_has_the_prefix_in_both_evaluations() -> None:
    model = random_model(GPT2)
    logits, bill = private(model, EXACT, check_ranges=True)
    assert all(torch.equal(a, b) for a, b in zip(logits, reference(model, EXACT), strict=True))
    assert costs(bill) == costs(counted(model, EXACT, check_ranges=True))


@pytest.mark.parametrize("plan", [EXACT, CRYPTEN], ids=["fss-faithful", "crypten"])
def test_every_sequence_of_a_batch_follows_the_prefix(plan: Plan) -> None:
    model, batch = random_model(LLAMA), Batch(2)
    logits, bill = private(model, plan, batch=batch)
    allowed = suite_of(plan).rounding_of_logits(plan, model.ranges)
    for found, expected in zip(logits, reference(model, plan), strict=True):
        assert (found - expected).abs().max() <= allowed
    assert costs(bill) == costs(counted(model, plan, batch=batch))


@pytest.mark.parametrize("plan", [FSS, EXACT, CRYPTEN], ids=["fss", "fss-faithful", "crypten"])
def test_nothing_is_sent_online_for_a_prefix_but_scores_and_what_they_weigh(plan: Plan) -> None:
    """All labels of opened values, and how many numbers have each. What is new is set-up; what is more is of
    attention, of private queries with more keys; all the rest is as without a prefix, number by number."""
    model = random_model(dataclasses.replace(GPT2, layers=1))
    alone, after = sent(model, plan, ()), sent(model, plan, PREFIX)
    assert {reason(label, plan.suite) for label in after} <= set(listed(plan.suite))
    assert all(label.startswith("setup/prefix.") for label in after.keys() - alone.keys())
    more = {label for label in alone if after[label] != alone[label]}
    seeing = ("layer0.attn.scores/", "layer0.attn.softmax", "layer0.attn.mix/", "layer0.attn.inputs")
    assert more
    assert {label for label in more if not label.startswith(seeing)} == set()


def sent(model: Model, plan: Plan, public_prefix: Sequence[int]) -> dict[str, int]:
    """How many numbers were sent with each label, by both parties."""
    recorders: list[Recorder] = []

    def wrap(channel: Channel, rank: int) -> Channel:
        recorders.append(Recorder(channel))
        return recorders[-1]

    def use(steps: StepClient) -> None:
        for ids in STEPS:
            steps.step(ids)

    room = None if plan.suite == "crypten" else MAX_CONTEXT
    run_model(model, plan, use, wrap, max_context=room, public_prefix=public_prefix)
    result: dict[str, int] = {}
    for recorder in recorders:
        for frame in recorder.sent:
            if "/" in frame.label:
                size = sum(int(torch.Size(spec.shape).numel()) for spec in frame.specs)
                result[frame.label] = result.get(frame.label, 0) + size
    return result
