"""Whole models on shares: the same tokens as in the clear, and exactly the bill that was counted."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.counting import count
from mpcinfer.generation import Session
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.model import Model
from mpcinfer.sessions.exchange import StepClient, checked
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill, BillRow
from parties.errors import ConfigError, PeerMismatch, RangeError
from protocols.plan import Plan
from tests.mpcinfer.forms import LLAMA_FORM
from tests.mpcinfer.three_parties import random_model, run_model
from tests.plans import any_run

GPT2 = ModelConfig(
    layers=2, width=32, heads=2, kv_heads=2, head_width=16, hidden=64, vocabulary=256, context=24
)
LLAMA = dataclasses.replace(
    GPT2,
    heads=4,
    kv_heads=2,
    head_width=8,
    **LLAMA_FORM,
    tied_head=False,
)
RELU = dataclasses.replace(GPT2, layers=1, activation="relu", norm="rmsnorm", tied_head=False)
POWER = dataclasses.replace(
    RELU, attention="power", power=4, attention_epsilon=0.1, attention_offset=True, attention_scaled=True
)
MODELS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "relu": RELU,
    "power4": POWER,
    "relu attention": dataclasses.replace(RELU, attention="relu"),
}
PROMPT = list(b"def f(x")
STEPS = 3
_COUNTED = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
    "setup_bytes",
    "offline_rounds",
    "setup_rounds",
)


def _decode(steps: StepClient) -> tuple[torch.Tensor, list[int]]:
    """Logits of the first token, and STEPS greedy tokens."""
    logits = first = steps.step(PROMPT)
    tokens = [int(logits.argmax())]
    while len(tokens) < STEPS:
        logits = steps.step([tokens[-1]])
        tokens.append(int(logits.argmax()))
    return first, tokens


def _in_the_clear(model: Model) -> tuple[torch.Tensor, list[int]]:
    config, weights = fold(model.config, model.weights)
    backend = FixedBackend()
    session = Session(Decoder(backend, config, backend.load(weights)))
    logits = first = session.step(PROMPT)
    tokens = [int(logits.argmax())]
    while len(tokens) < STEPS:
        logits = session.step([tokens[-1]])
        tokens.append(int(logits.argmax()))
    return first, tokens


def _costs(bill: Bill) -> dict[str, tuple[int, ...]]:
    rows = {row.label: tuple(getattr(row, name) for name in _COUNTED) for row in bill.rows}
    return {label: costs for label, costs in rows.items() if any(costs)}


@any_run
@pytest.mark.parametrize("config", MODELS.values(), ids=list(MODELS))
def test_private_run_gives_the_clear_tokens_and_the_counted_bill(config: ModelConfig, plan: Plan) -> None:
    model = random_model(config)
    (logits, tokens), bill, server_bill = run_model(model, plan, _decode, max_context=len(PROMPT) + STEPS - 1)
    reference, reference_tokens = _in_the_clear(model)
    # Logits of these models have a standard deviation near 1; a protocol's stated errors (below 3e-3 each)
    # pass through two layers that neither amplify nor damp them much.
    assert float((logits - reference).abs().max()) < 0.1 * float(reference.std())
    assert tokens == reference_tokens
    counted = count(config, plan, tokens=len(PROMPT), new_tokens=STEPS, ranges=model.ranges)
    assert _costs(bill) == _costs(counted)
    assert _costs(server_bill) == _costs(counted)


def test_a_second_prompt_starts_afresh() -> None:
    model = random_model(RELU)

    def use(steps: StepClient) -> list[torch.Tensor]:
        first = steps.step(PROMPT)
        steps.step([1])
        steps.restart()
        return [first, steps.step(PROMPT)]

    (first, again), _, _ = run_model(model, get_plan("crypten"), use)
    # Both are within the run's own error of the same logits; they are not bit-equal, truncation is random.
    assert torch.allclose(first, again, rtol=0, atol=0.1 * float(first.std()))


def test_the_context_is_a_limit_at_the_client() -> None:
    model = random_model(RELU)
    # Both parties refuse; which of the two errors comes first is a race.
    with pytest.raises((PeerMismatch, ConfigError), match=r"25 tokens.*24"):
        run_model(model, get_plan("crypten"), lambda steps: steps.step([1] * 25))


def test_a_model_without_ranges_is_refused() -> None:
    model = dataclasses.replace(random_model(RELU), ranges={})
    with pytest.raises(ConfigError, match="never calibrated"):
        run_model(model, get_plan("crypten"), _decode)


def test_numbers_too_large_for_local_truncation_are_refused() -> None:
    model = random_model(RELU)
    large = dataclasses.replace(model, ranges={**model.ranges, "layer0/add": 20_000.0})
    with pytest.raises(RangeError, match="truncation=exact"):
        run_model(large, get_plan("crypten"), _decode)


def test_the_bill_says_how_often_local_truncation_goes_wrong() -> None:
    model = random_model(RELU)
    _, local, _ = run_model(model, get_plan("crypten"), lambda steps: steps.step(PROMPT))
    assert any("truncated locally" in note for note in local.notes)
    plan = get_plan("crypten").replace(truncation="exact")
    _, exact, _ = run_model(model, plan, lambda steps: steps.step(PROMPT))
    assert exact.notes == []
    assert exact.total.rounds > local.total.rounds


def test_parts_of_a_count_add_up() -> None:
    plan = get_plan("crypten")
    whole = count(GPT2, plan, tokens=8).total
    parts = [count(GPT2, plan, tokens=8, part=part).total for part in ("embedding", "stack", "head")]
    logits_bytes = 8 * GPT2.vocabulary
    assert sum(part.online_bytes_to_server for part in parts) == whole.online_bytes_to_server
    assert sum(part.online_bytes_to_client for part in parts) == whole.online_bytes_to_client - logits_bytes
    # The opening of the logits is one message: a round, unless the server need not wait for the last one.
    assert whole.rounds - sum(part.rounds for part in parts) in (0, 1)
    table_bytes = 8 * GPT2.vocabulary * GPT2.width  # both embedding and head need the tied table
    assert sum(part.setup_bytes for part in parts) == whole.setup_bytes + table_bytes


def test_bills_that_disagree_are_refused() -> None:
    mine = Bill(rows=[BillRow(label="layer0", rounds=3)])
    checked(mine, Bill(rows=[BillRow(label="layer0", rounds=3)]))
    with pytest.raises(PeerMismatch, match="layer0: rounds is 3 here and 4"):
        checked(mine, Bill(rows=[BillRow(label="layer0", rounds=4)]))
    with pytest.raises(PeerMismatch, match="only the server"):
        checked(mine, Bill(rows=[BillRow(label="layer0", rounds=3), BillRow(label="x", setup_bytes=1)]))
