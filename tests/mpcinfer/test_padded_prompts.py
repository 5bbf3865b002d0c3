"""A single prompt, padded to a public length: the same answer, the same frames, and a bill that says it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar

import pytest
import torch

from mpcinfer.answer import Answer
from mpcinfer.counting import count, count_passes
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.buckets import Buckets
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.public import PublicModel
from mpcinfer.prompt_weights.weights import PromptWeights
from mpcinfer.roles.client import PrivateClient
from mpcinfer.roles.lengths import Asked, lengths_of
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from parties.channel import Channel
from parties.errors import ConfigError, RangeError
from parties.meter import SERVER
from parties.trace import Trace
from parties.wire import decode
from protocols.plan import Plan
from tests.controls.padding import BATCHES
from tests.mpcinfer.test_batches import (
    EXACT,
    FSS,
    MODELS,
    POWER,
    ROPE,
    SMALL,
    Noting,
    in_the_clear,
    model_of,
    samplers,
)
from tests.mpcinfer.test_encoders import EMBEDDING
from tests.mpcinfer.test_private_models import _costs
from tests.mpcinfer.three_parties import Wrap, as_it_is, random_model, run_model

T = TypeVar("T")
ONE, SIZES = Batch(1, padded=True), Buckets((4, 8, 12))
CONTEXT, NEW = 24, 3
PROMPT, OTHER = "def f(", "x = y"
"""6 and 5 tokens: both are padded to 8."""


def privately(
    config: ModelConfig,
    use: Callable[[PrivateClient], T],
    plan: Plan = EXACT,
    batch: Batch = ONE,
    wrap: Wrap = as_it_is,
    **more: Any,
) -> tuple[T, Bill, Bill]:
    """What `use` makes of a client with these buckets; the client's bill with its notes, and the server's."""
    model = model_of(config)
    public = PublicModel.of(model)

    def by_steps(steps: StepClient) -> tuple[T, list[str]]:
        counted = partial(
            count_passes,
            public.config,
            plan,
            ranges=public.ranges,
            max_context=steps.context,
            check_ranges=bool(more.get("check_ranges")),
        )
        client = PrivateClient(public, steps, None, buckets=SIZES, count=counted)
        return use(client), client._padding_notes()

    (result, notes), bill, servers = run_model(model, plan, by_steps, wrap, CONTEXT, batch=batch, **more)
    bill.notes.extend(notes)
    return result, bill, servers


def completing(prompt: str, by: Noting | None = None, **more: Any) -> Callable[[PrivateClient], Answer]:
    return lambda client: client.complete(prompt, max_new_tokens=NEW, sampler=by or Noting(), **more)


@cache
def session(name: str, *, padded: bool) -> tuple[Answer, list[torch.Tensor], Bill, Bill]:
    """Of a prompt of 6 tokens, padded to 8 or not; answer, logits, and both bills."""
    by = Noting()
    answer, bill, servers = privately(MODELS[name], completing(PROMPT, by), batch=ONE if padded else SINGLE)
    return answer, by.logits, bill, servers


@pytest.mark.parametrize("name", ["learned", "rope"])
def test_a_padded_prompt_is_the_reference_bit_by_bit_and_costs_what_was_counted(name: str) -> None:
    model, by = model_of(MODELS[name]), samplers(1)
    answer, logits, bill, _ = session(name, padded=True)
    assert in_the_clear(model, [PROMPT], ONE, by, CONTEXT, 8) == [answer]
    assert torch.equal(torch.stack(logits), torch.stack(by[0].logits))
    counted = partial(count, model.config, EXACT, new_tokens=NEW, ranges=model.ranges, max_context=CONTEXT)
    assert _costs(bill) == _costs(counted(tokens=8, batch=ONE))


@pytest.mark.parametrize("name", MODELS)
def test_the_answer_is_that_of_the_exact_length(name: str) -> None:
    check_answer(name)


def check_answer(name: str) -> None:
    model, padded, alone = model_of(MODELS[name]), samplers(1), samplers(1)
    exact = in_the_clear(model, [PROMPT], SINGLE, alone, CONTEXT)
    assert in_the_clear(model, [PROMPT], ONE, padded, CONTEXT, 8) == exact
    apart = (torch.stack(padded[0].logits) - torch.stack(alone[0].logits)).abs().max()
    # As in test_batches: coarser maxima and exp of padding move weights by a few units of 2^-13.
    assert apart < 2.0**-6


def test_padding_that_is_not_hidden_is_noticed() -> None:
    """The control of the test above: without a mask the answer moves."""
    for broken in BATCHES.values():
        with broken(), pytest.raises(AssertionError):
            check_answer("learned")


@pytest.mark.parametrize("name", ["learned", "rope"])
def test_the_note_has_what_was_measured_and_only_the_client_has_it(name: str) -> None:
    padded, servers = session(name, padded=True)[2:]
    exact = session(name, padded=False)[2]
    [note] = [note for note in padded.notes if "padded" in note]
    said = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", note)]
    more, less = padded.total, exact.total
    online = more.online_bytes_to_server + more.online_bytes_to_client
    offline = more.offline_bytes_to_server + more.offline_bytes_to_client
    assert said == [
        8,
        6,
        online - less.online_bytes_to_server - less.online_bytes_to_client,
        offline - less.offline_bytes_to_server - less.offline_bytes_to_client,
        more.setup_bytes - less.setup_bytes,
        0,
    ]
    assert note.startswith("padded to 8 tokens: 6 of them are the prompt's; the padding cost ")
    assert min(said[2:4]) > 0
    assert not any("padded" in note for note in [*servers.notes, *exact.notes])


def frames_of(prompt: str) -> list[tuple[str, list[int]]]:
    """Label and sizes of all that the server receives, but for the end."""
    traces: list[Trace] = []

    def wrap(channel: Channel, rank: int) -> Channel:
        if rank != SERVER:
            return channel
        traces.append(Trace(channel, keep_cache=True))
        return traces[-1]

    privately(SMALL, completing(prompt), FSS, wrap=wrap)
    frames = [decode(message).label for message in traces[0].received]
    sizes = [[len(part) for part in message] for message in traces[0].received]
    named = list(zip(frames, sizes, strict=True))
    return [each for each in named if each[0] not in ("session.bill", "session.end")]


def test_the_server_receives_the_same_whatever_the_length_within_a_bucket() -> None:
    first = frames_of(PROMPT)
    assert len(first) > 20
    assert frames_of(OTHER) == first
    assert frames_of("abc") != first  # of another bucket: sizes do tell that


@pytest.mark.parametrize("plan", ["crypten", "two-party"])
def test_other_suites_pad_and_bill_it(plan: str) -> None:
    model, chosen, by = model_of(SMALL), get_plan(plan), Noting()
    answer, bill, _ = privately(SMALL, completing(PROMPT, by), chosen)
    alone = Noting()
    [exact] = in_the_clear(model, [PROMPT], SINGLE, [alone], CONTEXT)
    assert answer.ids == exact.ids
    # As in test_private_models: a protocol's stated errors are below 3e-3 each.
    apart = (torch.stack(by.logits) - torch.stack(alone.logits)).abs().max()
    assert float(apart) < 0.1 * float(torch.stack(alone.logits).std())
    counted = partial(count, SMALL, chosen, new_tokens=NEW, ranges=model.ranges)
    assert _costs(bill) == _costs(counted(tokens=8, batch=ONE))
    assert any(note.startswith("padded to 8 tokens: 6 of them") for note in bill.notes)


def test_a_conversation_goes_on_after_its_padding() -> None:
    """Two turns over one cache answer as two whole prompts do; the bill says that the second was exact."""
    longer = f"{PROMPT}ab"

    def use(client: PrivateClient) -> list[tuple[int, ...]]:
        first = client.complete(PROMPT, max_new_tokens=1, keep_cache=True)
        asked = client.bill_so_far().total.online_bytes_to_server
        second = client.complete(longer, max_new_tokens=NEW, keep_cache=True)
        kept = client.bill_so_far().total.online_bytes_to_server - asked
        third = client.complete(longer, max_new_tokens=NEW)
        whole = client.bill_so_far().total.online_bytes_to_server - asked - kept
        assert kept < whole
        return [first.ids, second.ids, third.ids]

    answers, bill, _ = privately(SMALL, use)
    model = model_of(SMALL)
    [alone] = in_the_clear(model, [longer], SINGLE, samplers(1), CONTEXT)
    assert answers[1] == answers[2] == alone.ids
    assert "2 prompts padded to 8, 8 tokens: 6, 8 of them are theirs" in " ".join(bill.notes)
    assert "1 prompt went on from a kept conversation, without padding" in " ".join(bill.notes)


def test_a_conversation_that_padding_leaves_no_room_is_run_whole() -> None:
    """21 tokens fit the session and not what is left behind padding."""
    first, second = "abcdefghi", "abcdefghi" + "j" * 12

    def use(client: PrivateClient) -> Answer:
        client.complete(first, max_new_tokens=1, keep_cache=True)
        return client.complete(second, max_new_tokens=1, keep_cache=True)

    answer, bill, _ = privately(SMALL, use)
    [alone] = in_the_clear(model_of(SMALL), [second], SINGLE, samplers(1), CONTEXT)
    assert answer.ids[:1] == alone.ids[:1]
    assert "padded to 12, 23 tokens: 9, 21 of them" in " ".join(bill.notes)
    assert "kept conversation" not in " ".join(bill.notes)


def test_drafts_come_after_the_padded_prompt() -> None:
    prompt = "ababab"
    answer, bill, _ = privately(SMALL, completing(prompt, speculate=2))
    [alone] = in_the_clear(model_of(SMALL), [prompt], SINGLE, samplers(1), CONTEXT)
    assert answer.ids == alone.ids
    assert answer.speculation is not None
    assert answer.speculation.drafted
    assert any(note.startswith("padded to 8 tokens: 6 of them") for note in bill.notes)


def test_weights_of_examples_move_with_the_padding() -> None:
    weights = PromptWeights.of(["ef"], [0.001])

    def logits(batch: Batch, given: PromptWeights | None) -> torch.Tensor:
        by = Noting()

        def use(client: PrivateClient) -> Answer:
            return client.complete(PROMPT, max_new_tokens=1, sampler=by, weights=given)

        privately(ROPE, use, FSS, batch)
        return by.logits[0]

    weighted, plain = logits(SINGLE, weights), logits(SINGLE, None)
    moved = (weighted - plain).abs().max()
    assert (logits(ONE, weights) - weighted).abs().max() < moved / 4


def test_batches_and_texts_are_padded_to_buckets_too() -> None:
    def use(client: PrivateClient) -> list[Answer]:
        return client.complete_batch([PROMPT, "if"], max_new_tokens=NEW)

    two = Batch(2, padded=True)
    answers, bill, _ = privately(SMALL, use, batch=two)
    assert answers == in_the_clear(model_of(SMALL), [PROMPT, "if"], two, samplers(2), CONTEXT, 8)
    assert any("padded to 8 tokens: 6 of them are the longest prompt's" in note for note in bill.notes)

    def read(client: PrivateClient) -> torch.Tensor:
        return client.embed([PROMPT], normalise=False)

    padded, bill, _ = privately(EMBEDDING, read, FSS)
    exact, unpadded, _ = privately(EMBEDDING, read, FSS, SINGLE)
    assert not any("padded" in note for note in unpadded.notes)
    # Sums of rows that are each exact to a few units of the last place of 2^-8 at the least.
    assert (padded - exact).abs().max() < 2.0**-4
    assert any(note.startswith("padded to 8 tokens: 6 of them") for note in bill.notes)


def asked(config: ModelConfig, plan: Plan = FSS, **more: Any) -> Asked:
    model = random_model(config)
    return Asked(plan=plan, public=PublicModel.of(model), batch=more.pop("batch", SINGLE), **more)


WIDE = {"layer0.attn.softmax/spread": 500.0}
REFUSED: dict[str, tuple[Callable[[], Asked], str]] = {
    "power attention": (lambda: asked(POWER), "attention=power: padded prompts need attention=softmax"),
    "temperature": (
        lambda: asked(dataclasses.replace(SMALL, temperature="position")),
        "temperature=position: padded prompts need",
    ),
    "stock": (
        lambda: asked(SMALL, get_plan("crypten-stock")),
        "softmax=stock: padded prompts need softmax=tree",
    ),
    "texts with rope": (
        lambda: asked(dataclasses.replace(EMBEDDING, positions="rope")),
        "positions=rope: padded texts whose tokens see all others need positions=learned",
    ),
    "public prefix": (
        lambda: asked(SMALL, public_prefix=2),
        "public prefix: prompts are padded at their start, where the prefix is",
    ),
    "adapter": (lambda: asked(SMALL, prefix="square"), "a prefix goes with prompts that are not padded"),
    "kept correlations": (
        lambda: asked(SMALL, get_plan("two-party"), folder=True),
        "correlations of `mpcinfer prepare` are for exact lengths",
    ),
    "one length": (
        lambda: asked(SMALL, batch=Batch(2)),
        "equal_lengths: prompts of one length are not padded",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_padding_is_refused_or_said_on_the_bill(name: str) -> None:
    make, said = REFUSED[name]
    wanted = make()
    with pytest.raises((ConfigError, RangeError), match=said):
        lengths_of(wanted, SIZES)
    lengths = lengths_of(wanted, dataclasses.replace(SIZES, where_possible=True))
    assert (lengths.batch, lengths.buckets) == (wanted.batch, None)
    [note] = lengths.notes(lengths.batch)
    assert re.match(r"lengths are exact, the server saw how many tokens .* has: ", note)
    assert said in note
    assert "--exact-lengths (buckets=None)" not in note


def test_scores_too_far_apart_for_a_softmax_with_padding_are_found_before_a_session() -> None:
    model = random_model(SMALL)
    model = dataclasses.replace(model, ranges={**model.ranges, **WIDE})
    wanted = Asked(plan=get_plan("crypten"), public=PublicModel.of(model), batch=SINGLE)
    with pytest.raises(RangeError, match=r"padding would be up to .*; run prompts at their exact length"):
        lengths_of(wanted, SIZES)
    assert lengths_of(wanted, dataclasses.replace(SIZES, where_possible=True)).exact is not None


def test_what_is_asked_for_decides() -> None:
    wanted = asked(SMALL)
    assert lengths_of(wanted, None).notes(SINGLE) == []
    declined = lengths_of(wanted, Buckets((), why="--exact-lengths"))
    assert declined.batch == SINGLE
    assert declined.notes(SINGLE) == [
        "lengths are exact, the server saw how many tokens each prompt has: --exact-lengths"
    ]
    padded = lengths_of(wanted, SIZES)
    assert (padded.batch, padded.notes(ONE)) == (ONE, [])
    [note] = padded.notes(SINGLE)
    assert note.endswith("the folder of correlations was dealt for exact lengths")
    public = wanted.public
    assert padded.first(public, 6, CONTEXT, NEW) == 8
    assert padded.first(public, 6, CONTEXT, None) == padded.first(public, CONTEXT, CONTEXT, NEW) == 0
    assert declined.first(public, 6, CONTEXT, None) == 6
