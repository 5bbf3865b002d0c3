"""Prompt weights in private runs: what the reference computes, for the bytes of a run without."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cache

import pytest
import torch

from mpcinfer.answer import Answer
from mpcinfer.clear import ClearModel
from mpcinfer.counting import count
from mpcinfer.models.batch import Batch
from mpcinfer.models.bounds import rounding_of_logits
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import KVCache
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.prompt_weights.weights import PromptWeights, private_columns
from mpcinfer.roles.client import PrivateClient
from mpcinfer.sampling import greedy
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.fss.column_weights import with_column_weights
from mpcinfer.suites.fss.connect import encoded_weights
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from parties.channel import Channel
from parties.errors import ConfigError, RangeError
from parties.meter import SERVER, Meter
from parties.trace import Trace
from parties.wire import decode
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.causal import CausalBlocks
from protocols.share import Share
from tests.mpcinfer.test_private_models import GPT2, LLAMA, POWER, _costs
from tests.mpcinfer.three_parties import random_model, run_model

SMALL = dataclasses.replace(GPT2, layers=2, width=16, head_width=8, hidden=24)
ROPE = dataclasses.replace(LLAMA, layers=1)
MODELS = {
    "learned": SMALL,
    "rope": ROPE,
    "capped": dataclasses.replace(ROPE, score_cap=0.5),
    "windows": dataclasses.replace(ROPE, windows=(5,)),
}
PROMPT, NEW, CONTEXT = "ab-cd-ef-x", 3, 16
EXAMPLES = ("ab", "cd", "ef")
WEIGHTS = PromptWeights.of(EXAMPLES, [0.25, 2.0, 0.0])
"""The last at the clip: log w is as far below the others as `LEAST` lets it be."""
EXACT, FSS = get_plan("fss-faithful"), get_plan("fss")


@cache
def model_of(config: ModelConfig) -> Model:
    return random_model(config)


class Noting:
    """A greedy sampler that keeps the logits it is given."""

    def __init__(self) -> None:
        self.logits: list[torch.Tensor] = []

    def __call__(self, logits: torch.Tensor) -> int:
        self.logits.append(logits)
        return greedy(logits)

    def rows(self) -> torch.Tensor:
        return torch.stack(self.logits)


def privately(
    config: ModelConfig,
    plan: str,
    weights: PromptWeights | None,
    by: Noting,
    traces: list[Trace] | None = None,
) -> Bill:
    """A prompt with some weights or none; the server's frames go to `traces`."""
    model = model_of(config)

    def wrap(channel: Channel, rank: int) -> Channel:
        if rank != SERVER or traces is None:
            return channel
        traces.append(Trace(channel, keep_cache=True))
        return traces[-1]

    def use(steps: StepClient) -> Answer:
        client = PrivateClient(PublicModel.of(model), steps, None)
        return client.complete(PROMPT, max_new_tokens=NEW, sampler=by, weights=weights)

    _, bill, _ = run_model(model, get_plan(plan), use, wrap, max_context=CONTEXT)
    return bill


def clear_rows(config: ModelConfig, weights: PromptWeights | None, **how: object) -> torch.Tensor:
    """The same in the clear."""
    noting = Noting()
    clear = ClearModel(model_of(config), **how)  # pyright: ignore[reportArgumentType]
    clear.complete(PROMPT, max_new_tokens=NEW, sampler=noting, weights=weights)
    return noting.rows()


@pytest.mark.parametrize("name", MODELS)
def test_a_weighted_run_is_the_reference_bit_by_bit_and_costs_what_a_run_without_costs(name: str) -> None:
    config, weighted, plain = MODELS[name], Noting(), Noting()
    bill = privately(config, "fss-faithful", WEIGHTS, weighted)
    without = privately(config, "fss-faithful", None, plain)
    reference = clear_rows(config, WEIGHTS, fixed_point=True, plan="fss-faithful", max_context=CONTEXT)
    assert torch.equal(weighted.rows(), reference)
    assert not torch.equal(weighted.logits[0], plain.logits[0])
    assert _costs(bill) == _costs(without)
    ranges, tokens = model_of(config).ranges, len(PROMPT)
    counted = count(config, EXACT, tokens=tokens, new_tokens=NEW, ranges=ranges, max_context=CONTEXT)
    assert _costs(bill) == _costs(counted)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_near_the_float_model_even_at_the_clip(name: str) -> None:
    """Scores that wrapped would put their weight on keys that have none."""
    config, weighted = MODELS[name], Noting()
    privately(config, "fss", WEIGHTS, weighted)
    exact = clear_rows(config, WEIGHTS)[0].double()
    without = clear_rows(config, None)[0].double()
    apart = (weighted.logits[0].double() - exact).abs().max()
    assert apart < (without - exact).abs().max() / 4
    assert apart < rounding_of_logits(model_of(config).ranges)


@pytest.mark.parametrize("broken", ["turned round", "half of them"])
def test_weights_that_are_added_wrongly_are_noticed(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controls of the test above."""

    def wrong(
        executor: Executor, scores: Sequence[Share], seen: CausalBlocks, columns: ColumnWeights
    ) -> Sequence[Share]:
        logs = columns.logs.flip(-1) if broken == "turned round" else columns.logs / 2
        return with_column_weights(executor, scores, seen, dataclasses.replace(columns, logs=logs))

    monkeypatch.setattr("mpcinfer.suites.fss.attention.with_column_weights", wrong)
    with pytest.raises(AssertionError):
        test_it_is_near_the_float_model_even_at_the_clip("learned")


@pytest.mark.parametrize("plan", ["fss", "crypten", "two-party"])
def test_other_plans_take_weights_and_send_what_they_send_without(plan: str) -> None:
    config, weighted, plain = ROPE, Noting(), Noting()
    bill, without = privately(config, plan, WEIGHTS, weighted), privately(config, plan, None, plain)
    assert _costs(bill) == _costs(without)
    exact, other = (clear_rows(config, weights)[0].double() for weights in (WEIGHTS, None))
    moved = (other - exact).abs().max()
    assert (weighted.logits[0].double() - exact).abs().max() < moved / 4
    assert (plain.logits[0].double() - other).abs().max() < moved / 4


def frames_of(weights: PromptWeights | None) -> list[tuple[str, list[int]]]:
    """Label and sizes of all that the server receives from the client."""
    traces: list[Trace] = []
    privately(SMALL, "fss", weights, Noting(), traces)
    frames = [decode(message) for message in traces[0].received]
    sizes = [[len(part) for part in message] for message in traces[0].received]
    named = [(frame.label, size) for frame, size in zip(frames, sizes, strict=True)]
    return [each for each in named if each[0] not in ("session.bill", "session.end")]


def test_the_server_receives_the_same_sizes_with_weights_and_without() -> None:
    first = frames_of(None)
    assert frames_of(WEIGHTS) == first
    assert len(first) > 20


def test_weights_of_one_are_no_weights_to_the_last_bit() -> None:
    ones = PromptWeights.of(EXAMPLES)
    how = {"fixed_point": True, "plan": "fss-faithful", "max_context": CONTEXT}
    assert torch.equal(clear_rows(SMALL, ones, **how), clear_rows(SMALL, None, **how))


# -- padding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_padded_batches_take_weights_bit_by_bit_and_for_nothing(name: str) -> None:
    model, batch = model_of(MODELS[name]), Batch(3, padded=True)
    prompts, weights = (PROMPT, "cd!"), (WEIGHTS, PromptWeights.of(["cd"], [0.001]))
    logits: dict[bool, list[torch.Tensor]] = {}
    bills: dict[bool, Bill] = {}
    for weighs in (True, False):
        by = [Noting(), Noting()]

        def use(steps: StepClient, by: Sequence[Noting] = by, weighs: bool = weighs) -> list[Answer]:
            client = PrivateClient(PublicModel.of(model), steps, None)
            return client.complete_batch(
                prompts, max_new_tokens=1, sampler=by, weights=weights if weighs else None
            )

        _, bills[weighs], _ = run_model(model, EXACT, use, max_context=CONTEXT, batch=batch)
        logits[weighs] = [each.logits[0] for each in by]
    assert _costs(bills[True]) == _costs(bills[False])
    assert not torch.equal(logits[True][0], logits[False][0])
    program = Program.of(EXACT, model.config, model.ranges, CONTEXT, batch=batch)
    ids = [model.tokenizer.encode(each) for each in (*prompts, prompts[0])]
    padding = [len(ids[0]) - len(each) for each in ids]
    padded = [each[:1] * before + each for each, before in zip(ids, padding, strict=True)]
    reference = program.walk(
        Clear(Meter(timed=False)),
        encoded_weights(program, model.weights),
        KVCache[Share](),
        len(ids[0]),
        [token for each in padded for token in each],
        padding=padding,
        columns=private_columns(PublicModel.of(model), prompts, weights, padding),
    )
    assert reference is not None
    assert torch.equal(torch.stack(logits[True]), reference[:2])


def test_a_padded_prompt_with_weights_is_the_prompt_by_itself() -> None:
    model, batch = model_of(ROPE), Batch(2, padded=True)
    by = [Noting(), Noting()]
    weights = (PromptWeights.of(["cd"], [0.001]), None)

    def use(steps: StepClient) -> list[Answer]:
        client = PrivateClient(PublicModel.of(model), steps, None)
        return client.complete_batch(("cd!", PROMPT), max_new_tokens=1, sampler=by, weights=weights)

    run_model(model, FSS, use, max_context=CONTEXT, batch=batch)
    noting = Noting()
    ClearModel(model).complete("cd!", max_new_tokens=1, sampler=noting, weights=weights[0])
    alone = Noting()
    ClearModel(model).complete("cd!", max_new_tokens=1, sampler=alone)
    moved = (alone.logits[0] - noting.logits[0]).abs().max()
    assert (by[0].logits[0] - noting.logits[0]).abs().max() < moved / 4


# -- the cache -----------------------------------------------------------------------------------------------


def test_a_conversation_keeps_what_was_seen_under_the_same_weights_and_no_more() -> None:
    model = model_of(SMALL)
    longer = f"{PROMPT}y"

    def asked(weights: Sequence[PromptWeights | None]) -> tuple[list[torch.Tensor], int]:
        by = Noting()

        def use(steps: StepClient) -> int:
            client = PrivateClient(PublicModel.of(model), steps, None)
            client.complete(PROMPT, max_new_tokens=1, sampler=by, weights=weights[0])
            before = client.bill_so_far().total.online_bytes_to_server
            client.complete(longer, max_new_tokens=1, sampler=by, weights=weights[1], keep_cache=True)
            return client.bill_so_far().total.online_bytes_to_server - before

        sent, _, _ = run_model(model, EXACT, use, max_context=CONTEXT)
        return by.logits, sent

    def alone(weights: PromptWeights | None) -> torch.Tensor:
        by = Noting()
        clear = ClearModel(model, fixed_point=True, plan="fss-faithful", max_context=CONTEXT)
        clear.complete(longer, max_new_tokens=1, sampler=by, weights=weights)
        return by.logits[0]

    other = PromptWeights.of(EXAMPLES, [0.25, 2.0, 1.0])
    (_, same), cheap = asked((WEIGHTS, WEIGHTS))
    (_, anew), dear = asked((WEIGHTS, other))
    (_, none), dearest = asked((WEIGHTS, None))
    assert torch.equal(same, alone(WEIGHTS))
    assert torch.equal(none, alone(None))
    assert torch.equal(anew, alone(other))
    assert cheap < dear == dearest  # what is run again does not tell which weights changed


# -- what does not fit -----------------------------------------------------------------------------------


def test_weights_that_rings_do_not_hold_are_refused_before_anything_is_sent() -> None:
    deep = PromptWeights.of(EXAMPLES, [0.0, 1.0, 1.0], least=1e-30)
    with pytest.raises(RangeError, match=r"layer0\.attn: prompt weights are 69\.08 nats apart.*least"):
        privately(SMALL, "fss", deep, Noting())
    with pytest.raises(RangeError, match=r"layer0\.attn: prompt weights are 69\.08 nats apart.*least"):
        clear_rows(SMALL, deep, fixed_point=True, plan="fss", max_context=CONTEXT)
    deeper = PromptWeights.of(EXAMPLES, [0.0, 1.0, 1.0], least=1e-300)
    with pytest.raises(RangeError, match=r"softmax/spread: with prompt weights 690\.8 nats apart"):
        privately(SMALL, "crypten", deeper, Noting())


@pytest.mark.parametrize("attention", ["power", "relu"])
def test_attention_that_has_no_private_weights_is_refused(attention: str) -> None:
    config = POWER if attention == "power" else dataclasses.replace(SMALL, attention="relu")
    with pytest.raises(ConfigError, match=f"{attention}"):
        privately(config, "fss", WEIGHTS, Noting())


def test_columns_are_added_in_the_middle_of_what_rings_hold() -> None:
    columns = ColumnWeights.of_rows([[math.log(0.5), math.log(4.0)], [0.0]], [0, 1])
    assert columns.depth == pytest.approx(math.log(8.0))
    centred = columns.centred(3)
    assert centred.amax(-1).tolist() == pytest.approx((-centred.amin(-1)).tolist())
