"""Several whole texts a pass: vectors and scores of one by one, the reference's bits, the counted bill."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from mpcinfer.batch_answers import Prompts
from mpcinfer.clear import ClearModel
from mpcinfer.counting import count
from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import KVCache
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.client import PrivateClient
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.fss.connect import encoded_weights
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from parties.channel import Channel
from parties.errors import ConfigError
from parties.meter import SERVER, Meter
from parties.trace import Trace
from parties.wire import decode
from protocols.fss.executors.clear import Clear
from protocols.plan import Plan
from protocols.share import Share
from tests.controls.padding import BATCHES, MEANS
from tests.mpcinfer.test_encoders import EMBEDDING, MODELS, costs
from tests.mpcinfer.three_parties import random_model, run_model

TEXTS = ("def f(x", "if", "return")
MORE = (*TEXTS, "x = ")
CONTEXT = 7
ANY, SAME = Batch(3, padded=True), Batch(3)
EXACT = get_plan("fss-faithful")
POOLED = [EMBEDDING, MODELS["tanh"], MODELS["gpt2"]]
pooled = pytest.mark.parametrize("config", POOLED, ids=["mean", "first", "last"])


def read(client: PrivateClient | ClearModel, texts: Sequence[str]) -> torch.Tensor:
    if client.public.config.head == "embedding":
        return client.embed(texts, normalise=False)
    return client.classify(texts).logits


def privately(
    model: Model, plan: Plan, texts: Sequence[str], batch: Batch, *, check_ranges: bool = False
) -> tuple[torch.Tensor, Bill]:
    def use(steps: StepClient) -> torch.Tensor:
        return read(PrivateClient(PublicModel.of(model), steps, None), texts)

    found, bill, _ = run_model(model, plan, use, max_context=CONTEXT, batch=batch, check_ranges=check_ranges)
    return found, bill


def in_the_clear(model: Model, texts: Sequence[str], batch: Batch) -> torch.Tensor:
    """The reference: a pass of the session, padding and all, on the secrets themselves."""
    program = Program.of(EXACT, model.config, model.ranges, CONTEXT, batch=batch)
    given = Prompts.of(PublicModel.of(model), texts, batch)
    found = program.walk(
        Clear(Meter(timed=False)),
        encoded_weights(program, model.weights),
        KVCache[Share](),
        given.length,
        [token for ids in given.ids for token in ids],
        padding=given.padding if batch.padded else None,
    )
    assert found is not None
    return found[: given.count]


@pooled
def test_a_padded_pass_is_the_reference_bit_by_bit_and_costs_what_was_counted(config: ModelConfig) -> None:
    model = random_model(config)
    found, bill = privately(model, EXACT, TEXTS, ANY)
    assert torch.equal(found, in_the_clear(model, TEXTS, ANY))
    tokens = {"tokens": len(TEXTS[0]), "ranges": model.ranges, "max_context": CONTEXT}
    assert costs(bill) == costs(count(config, EXACT, **tokens, batch=ANY))
    more = bill.total.rounds - count(config, EXACT, **tokens).total.rounds
    assert more == (2 if config.pooling == "mean" else 0)


@pooled
def test_what_a_text_gives_does_not_depend_on_the_others(config: ModelConfig) -> None:
    check_alone(config)


@pooled
def test_padding_that_is_not_hidden_everywhere_is_noticed(config: ModelConfig) -> None:
    """The controls of the test above."""
    for broken in (BATCHES | MEANS if config.pooling == "mean" else BATCHES).values():
        with broken(), pytest.raises(AssertionError):
            check_alone(config)


def check_alone(config: ModelConfig) -> None:
    """To the last bit: padding stands where the first token does, and has its values in every layer."""
    model = random_model(config)
    together = in_the_clear(model, TEXTS, ANY)
    for row, text in zip(together, TEXTS, strict=True):
        assert torch.equal(row, in_the_clear(model, [text], Batch())[0])


@pytest.mark.parametrize("plan", ["fss", "crypten", "embedding=public", "check_ranges"])
@pooled
def test_every_text_is_near_what_it_is_alone(config: ModelConfig, plan: str) -> None:
    model, checked = random_model(config), plan == "check_ranges"
    chosen = get_plan(plan if plan == "crypten" else "fss")
    chosen = chosen.replace(embedding="public") if plan == "embedding=public" else chosen
    found, bill = privately(model, chosen, MORE, ANY, check_ranges=checked)
    expected = read(ClearModel(model), MORE)
    assert tuple(found.shape) == (4, config.outputs)
    # As in test_encoders: stated errors pass through layers that neither amplify nor damp them.
    assert float((found - expected).abs().max()) < 0.1 * max(1.0, float(expected.std()))
    shape = {"ranges": model.ranges, "batch": ANY, "max_context": CONTEXT, "check_ranges": checked}
    passes = [count(config, chosen, tokens=tokens, **shape) for tokens in (7, 4)]
    setup = passes[0].total.setup_rounds
    assert bill.total.rounds == sum(each.total.rounds for each in passes)
    assert bill.total.setup_rounds == setup
    assert bill.total.online_bytes_to_server == sum(each.total.online_bytes_to_server for each in passes)


@pytest.mark.parametrize("plan", ["fss-faithful", "crypten"])
def test_texts_of_one_length_run_without_padding(plan: str) -> None:
    model, texts = random_model(EMBEDDING), ("abcd", "x = ", "defg")
    found, bill = privately(model, get_plan(plan), texts, SAME)
    assert float((found - read(ClearModel(model), texts)).abs().max()) < 0.1
    told = count(EMBEDDING, get_plan(plan), tokens=4, ranges=model.ranges, batch=SAME, max_context=CONTEXT)
    assert costs(bill) == costs(told)
    with pytest.raises(ConfigError, match=r"text 5 has 2 tokens, text 4 has 4: .*texts of one length"):
        privately(model, get_plan("fss"), [*texts, "abcd", "if"], SAME)


def test_the_server_receives_the_same_sizes_whatever_the_lengths() -> None:
    def frames_of(texts: Sequence[str]) -> list[tuple[str, list[int]]]:
        traces: list[Trace] = []

        def wrap(channel: Channel, rank: int) -> Channel:
            if rank == SERVER:
                traces.append(Trace(channel, keep_cache=True))
            return traces[-1] if rank == SERVER else channel

        def use(steps: StepClient) -> torch.Tensor:
            return read(PrivateClient(PublicModel.of(random_model(EMBEDDING)), steps, None), texts)

        run_model(random_model(EMBEDDING), get_plan("fss"), use, wrap, CONTEXT, batch=ANY)
        sizes = [(decode(message).label, [len(part) for part in message]) for message in traces[0].received]
        return [each for each in sizes if each[0] not in ("session.bill", "session.end")]

    first = frames_of(("longest", "b", "cc"))
    assert frames_of(("longest", "another", "athird!")) == first
    assert frames_of(("longest",)) == first
    assert len(first) > 20


@pytest.mark.parametrize("plan", ["fss", "crypten"])
def test_padding_that_turns_by_its_place_among_all_tokens_is_refused(plan: str) -> None:
    turning = dataclasses.replace(EMBEDDING, positions="rope")
    with pytest.raises(ConfigError, match=r"positions=rope: .*--equal-lengths"):
        count(turning, get_plan(plan), tokens=4, batch=ANY)
    assert count(turning, get_plan(plan), tokens=4, batch=SAME).total.rounds
