"""Whole models without a dealer: quick ones of each kind, batches, and correlations made ahead."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.answer import Answer
from mpcinfer.clear import ClearModel
from mpcinfer.counting import count
from mpcinfer.models.batch import Batch
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.client import PrivateClient
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.sessions.progress import Progress, Stage
from mpcinfer.sessions.tally import Tally
from mpcinfer.suites.registry import get_plan
from mpcinfer.suites.two_party.session import SAID, TwoPartySession
from mpcinfer.verification import verify
from parties.bill import Bill
from parties.link import Link
from parties.threads import run_two_threads
from protocols.two_party.correlations import Kind
from tests.mpcinfer.test_batches import NEW, UNEQUAL, Noting, samplers
from tests.mpcinfer.test_encoders import MODELS, TEXT, in_float
from tests.mpcinfer.test_private_models import GPT2, _costs
from tests.mpcinfer.three_parties import byte_tokenizer, random_model, run_model

PLAN = get_plan("two-party")
SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)
PROMPT = list(byte_tokenizer().encode("def f(x"))


def offline(bill: Bill) -> int:
    return bill.total.offline_bytes_to_server + bill.total.offline_bytes_to_client


def test_an_answer_that_was_prepared_for_is_counted_and_makes_nothing_online() -> None:
    model, seen = random_model(SMALL), list[int]()

    def use(steps: StepClient) -> list[torch.Tensor]:
        steps.prepare([len(PROMPT), 1])
        seen.append(offline(steps.bill_so_far()))
        logits = [steps.step(PROMPT)]
        logits.append(steps.step([int(logits[0].argmax())]))
        seen.append(offline(steps.bill_so_far()))
        return logits

    logits, bill, server = run_model(model, PLAN, use)
    assert 0 < seen[0] == seen[1]
    counted = count(SMALL, PLAN, tokens=len(PROMPT), new_tokens=2, ranges=model.ranges)
    assert _costs(bill) == _costs(server) == _costs(counted)
    assert not any("prepared for" in note for note in bill.notes)
    clear, by = ClearModel(model, fixed_point=True, plan=PLAN.name), Noting()
    clear.complete("def f(x", max_new_tokens=2, sampler=by)
    for mine, right in zip(logits, by.logits, strict=True):
        # As in test_private_models: stated errors of single protocols pass through a layer.
        assert float((mine - right).abs().max()) < 0.1 * float(right.std())


def test_what_was_prepared_for_another_prompt_is_given_up_at_both_parties() -> None:
    model = random_model(SMALL)

    def use(steps: StepClient) -> torch.Tensor:
        steps.prepare([3, 1])
        return steps.step(PROMPT)

    logits, bill, _ = run_model(model, PLAN, use)
    by = Noting()
    ClearModel(model, fixed_point=True, plan=PLAN.name).complete("def f(x", max_new_tokens=1, sampler=by)
    assert float((logits - by.logits[0]).abs().max()) < 0.1 * float(logits.std())
    assert any(note.startswith("2 passes were prepared for and never run") for note in bill.notes)


def test_rows_of_linear_layers_are_made_for_coming_tokens_too() -> None:
    """A ciphertext has room for 32 rows: those that a prompt leaves are for the tokens of its answer."""
    whole, prompt = (count(SMALL, PLAN, tokens=20, new_tokens=new) for new in (4, 1))

    def linear(bill: Bill) -> int:
        rows = [row for row in bill.rows if row.label.startswith("correlations.linear")]
        return sum(row.offline_bytes_to_server + row.offline_bytes_to_client for row in rows)

    assert linear(whole) == linear(prompt) > 0


def test_a_padded_batch_is_near_one_by_one_and_costs_what_was_counted() -> None:
    model, together, batch = random_model(SMALL), samplers(3), Batch(3, padded=True)

    def use(steps: StepClient) -> list[Answer]:
        client = PrivateClient(PublicModel.of(model), steps, None)
        return client.complete_batch(UNEQUAL, max_new_tokens=NEW, sampler=together)

    _, bill, _ = run_model(model, PLAN, use, batch=batch)
    for prompt, seen in zip(UNEQUAL, together, strict=True):
        by = Noting()
        ClearModel(model, fixed_point=True, plan=PLAN.name).complete(prompt, max_new_tokens=NEW, sampler=by)
        apart = (torch.stack(seen.logits) - torch.stack(by.logits)).abs().max()
        assert float(apart) < 0.1 * float(torch.stack(by.logits).std())
    tokens = max(map(len, UNEQUAL))
    counted = count(SMALL, PLAN, tokens=tokens, new_tokens=NEW, ranges=model.ranges, batch=batch)
    assert _costs(bill) == _costs(counted)
    alone = count(SMALL, PLAN, tokens=tokens, new_tokens=NEW, ranges=model.ranges)
    # Private positions are looked up: a message, and a truncation, a pass.
    assert bill.total.rounds == alone.total.rounds + 2 * NEW


@pytest.mark.parametrize("name", ["first", pytest.param("tanh", marks=pytest.mark.long)])
def test_an_encoder_is_near_float_and_costs_what_was_counted(name: str) -> None:
    config = MODELS[name]
    model = random_model(config)
    result, bill, _ = run_model(model, PLAN, lambda steps: steps.step(TEXT))
    expected = in_float(config, TEXT)
    assert float((result - expected).abs().max()) < 0.1 * max(1.0, float(expected.std()))
    assert _costs(bill) == _costs(count(config, PLAN, tokens=len(TEXT), ranges=model.ranges))


def test_an_answer_is_verified_to_within_rounding_or_not_at_all() -> None:
    model, mine = random_model(SMALL), Noting()

    def use(steps: StepClient) -> Answer:
        return PrivateClient(PublicModel.of(model), steps, None).complete(
            "def f(x", max_new_tokens=2, sampler=mine
        )

    answer, _, _ = run_model(model, PLAN, use)
    verdict = verify(model, PLAN, "def f(x", answer, mine.logits, max_context=SMALL.context)
    assert verdict.same, verdict.text
    moved = [mine.logits[0], mine.logits[1] + 1.0]
    assert not verify(model, PLAN, "def f(x", answer, moved, max_context=SMALL.context).same


def test_progress_ends_with_all_bytes_that_were_counted() -> None:
    model, seen = random_model(SMALL), list[Progress]()
    public = PublicModel.of(model)

    def server(link: Link) -> None:
        session = TwoPartySession(link, PLAN, public, model.weights)
        session.advance(None, len(PROMPT))

    def client(link: Link) -> int:
        session = TwoPartySession(link, PLAN, public, None, progress=Tally(seen.append))
        keys = offline(link.meter.bill())
        session.advance(PROMPT, len(PROMPT))
        return offline(link.meter.bill()) - keys

    _, made = run_two_threads(server, client)
    shown = [each for each in seen if each.stage is Stage.CORRELATIONS]
    assert {each.of for each in shown} == {made}
    done = [each.done for each in shown]
    assert done == sorted(done)
    assert 0 == done[0] < done[-1] < made
    assert {"linear layers", "squares", "look-ups"} < {each.detail for each in shown}


def test_every_kind_of_correlation_has_a_word_for_those_who_wait() -> None:
    assert set(SAID) == set(Kind)
