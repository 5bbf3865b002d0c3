"""Private answers with drafts: the text, the bill, caches that are cut back, what is dealt in vain."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.backends.parts import answer_passes
from mpcinfer.clear import ClearModel
from mpcinfer.counting import count
from mpcinfer.generation import Completion, Remembered, complete, generate
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.load import load_model
from mpcinfer.models.model import Model
from mpcinfer.roles.next_pass import NextPass
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.speculation import Speculation, speculation
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from tests.mpcinfer.test_private_models import GPT2, LLAMA, _costs
from tests.mpcinfer.three_parties import random_model, run_model

EXACT = get_plan("fss-faithful")
SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)
PROMPT = [100, 101, 102, 32, 120]


@cache
def small() -> Model:
    return random_model(SMALL)


# --- the shipped model ---

LIST = "x = [1, 2, 3]\ny = [1, 2, 3]\nz = [1, 2"
LOOP = "for i in range(3):\n    print(i)\nfor i in range("
CODE = "def read_lines(path):\n    with open("
MAX_CONTEXT = 34
"""The context ends within a pass of the answer to LIST."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """An answer: how many drafts a pass, how long, which text ends it.

    Attributes:
        accepted: so many drafts at the least.
        reason: what ended it, where that is known.
    """

    prompt: str
    most: int
    tokens: int
    stop: str = ""
    accepted: int = 0
    reason: str = ""


CASES = (
    Case(prompt=LIST, most=1, tokens=3, accepted=1, reason="length"),
    # The first pass gives five tokens, the second has no draft left.
    Case(prompt=LIST, most=4, tokens=6, accepted=2, reason="length"),
    Case(prompt=LIST, most=0, tokens=3, reason="length"),
    Case(prompt=LIST, most=7, tokens=12, accepted=2, reason="context"),  # more than there is room for
    Case(prompt=LIST, most=4, tokens=8, stop="\n", accepted=2, reason="stop"),
    Case(prompt=LOOP, most=3, tokens=4),
    Case(prompt=CODE, most=4, tokens=2),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(CASES[:2], id="two answers"),
        pytest.param(CASES, id="all answers", marks=pytest.mark.long),
    ],
)
def test_the_shipped_model_says_the_same_with_drafts_and_without(cases: tuple[Case, ...]) -> None:
    """Under `fss-faithful`, all in one session, against the reference without drafts: token for token."""
    model = load_model("tiny-python")
    tokenizer = model.tokenizer
    stops = [frozenset(tokenizer.encode(case.stop)) for case in cases]
    made = [speculation(case.most) for case in cases]

    def answers(predict: Remembered, *, drafting: bool) -> list[Completion]:
        return [
            complete(
                generate(
                    predict,
                    tokenizer.encode(case.prompt),
                    max_new_tokens=case.tokens,
                    context=MAX_CONTEXT,
                    stop=stop,
                    speculation=drafts if drafting else None,
                )
            )
            for case, stop, drafts in zip(cases, stops, made, strict=True)
        ]

    def use(steps: StepClient) -> list[Completion]:
        return answers(Remembered(steps.step, steps.rewind), drafting=True)

    private, _, _ = run_model(model, EXACT, use, max_context=MAX_CONTEXT)
    reference = ClearModel(model, fixed_point=True, plan="fss-faithful", max_context=MAX_CONTEXT)
    assert private == answers(reference._predictions(keep_cache=False), drafting=False)
    for case, answer, drafts in zip(cases, private, made, strict=True):
        assert case.reason in ("", answer.reason)
        assert case.accepted <= (0 if drafts is None else drafts.accepted)


# --- sessions ---


def run_passes(steps: StepClient, tokens: int, new_tokens: int, most: int, right: int) -> list[torch.Tensor]:
    """The passes of an answer, over tokens that nobody chose."""
    logits: list[torch.Tensor] = []
    for each in answer_passes(tokens, new_tokens, most, right):
        steps.rewind(each.start)
        logits.append(steps.step([7 + each.start + i for i in range(each.tokens)], each.rows))
    return logits


@pytest.mark.parametrize("plan", ["fss", "fss-faithful", "crypten"])
@pytest.mark.parametrize("config", [SMALL, dataclasses.replace(LLAMA, layers=1)], ids=["gpt2", "llama"])
def test_the_bill_is_the_counted_one(config: ModelConfig, plan: str) -> None:
    model, chosen = random_model(config), get_plan(plan)
    shape = {"tokens": 4, "new_tokens": 8}

    def use(steps: StepClient) -> list[torch.Tensor]:
        return run_passes(steps, **shape, most=3, right=1)

    logits, bill, server_bill = run_model(model, chosen, use, max_context=11)
    assert [len(rows) for rows in logits] == [4, 4, 4, 2]
    counted = count(config, chosen, **shape, speculate=3, accepted=1, ranges=model.ranges)
    assert _costs(bill) == _costs(counted) == _costs(server_bill)


@pytest.mark.parametrize(
    ("plan", "prompt", "grows"),
    [("fss", 4, 0), ("fss-faithful", 4, 0), ("crypten", 9, 1)],  # where a maximum's rounds go with the keys
)
def test_a_pass_takes_as_many_rounds_whatever_it_checks(plan: str, prompt: int, grows: int) -> None:
    def rounds(drafts: int) -> int:
        tokens = prompt - grows * drafts
        shape = {"tokens": tokens, "new_tokens": drafts + 1, "speculate": drafts}
        return count(SMALL, get_plan(plan), max_context=16, **shape).total.rounds

    assert len({rounds(drafts) for drafts in range(6)}) == 1


def test_refused_drafts_leave_no_trace() -> None:
    """All three forget them: what follows is bit by bit what it is without them."""

    def straight(steps: StepClient) -> torch.Tensor:
        return torch.cat([steps.step(PROMPT), steps.step([7]), steps.step([8, 9], 2)])

    def drafted(steps: StepClient) -> torch.Tensor:
        first = steps.step([*PROMPT, 50, 51, 52], 4)[:1]
        steps.rewind(5)
        second = steps.step([7, 60, 61], 3)[:1]
        steps.rewind(6)
        return torch.cat([first, second, steps.step([8, 9], 2)])

    expected, _, _ = run_model(small(), EXACT, straight, max_context=10)
    got, _, _ = run_model(small(), EXACT, drafted, max_context=10)
    assert torch.equal(got, expected)


# --- dealing ahead ---


def _unused(bill: Bill) -> int:
    """Passes that were dealt for and never run."""
    return sum(int(note.split()[0]) for note in bill.notes if "never run" in note)


@pytest.mark.parametrize(("next_tokens", "unused"), [(3, 0), (2, 1)])
def test_a_guess_that_comes_is_ready_and_another_is_given_up(next_tokens: int, unused: int) -> None:
    def use(steps: StepClient) -> torch.Tensor:
        first = steps.step([*PROMPT, 7, 8], 3, then=3)
        return torch.cat([first, steps.step([9, 10, 11][:next_tokens], next_tokens)])

    def plain(steps: StepClient) -> torch.Tensor:
        first = steps.step([*PROMPT, 7, 8], 3)
        return torch.cat([first, steps.step([9, 10, 11][:next_tokens], next_tokens)])

    logits, bill, _ = run_model(small(), EXACT, use, max_context=12)
    expected, _, _ = run_model(small(), EXACT, plain, max_context=12)
    assert torch.equal(logits, expected)
    assert _unused(bill) == unused


def test_a_guess_beyond_the_maximum_context_is_none() -> None:
    _, bill, _ = run_model(small(), EXACT, lambda steps: steps.step(PROMPT, 2, then=2), max_context=6)
    assert _unused(bill) == 0


def test_a_plan_whose_correlations_come_as_it_runs_takes_no_guess() -> None:
    _, bill, _ = run_model(small(), get_plan("crypten"), lambda steps: steps.step(PROMPT, 2, then=2))
    assert _unused(bill) == 0


def test_all_drafts_right_is_what_is_guessed() -> None:
    course = NextPass(30)
    assert course.after(14, 5) == 5  # ten tokens and four drafts; then that, one more, and four drafts
    assert course.after(19, 5) == 5
    assert course.after(24, 5) == 5
    assert course.after(29, 5) == 0  # whatever is right, nothing comes after it


def test_the_last_pass_has_fewer_drafts() -> None:
    assert NextPass(18).after(14, 5) == 3
    assert NextPass(16).after(14, 5) == 1
    assert NextPass(15).after(14, 5) == 0


@pytest.mark.parametrize("failing", [(17, 5), (19, 4), (16, 1)])
def test_one_failed_guess_is_the_last(failing: tuple[int, int]) -> None:
    course = NextPass(99)
    assert course.after(14, 5) == 5
    assert course.after(*failing) == 0
    assert course.after(failing[0] + 5, 5) == 0


def test_without_drafts_nothing_is_guessed() -> None:
    course = NextPass(99)
    assert course.after(10, 1) == course.after(11, 1) == 0
    assert course.after(15, 4) == 4


def test_counted_passes_are_those_of_the_loop() -> None:
    """A drafter of which just so many are right, against what is counted."""
    for most, right, tokens in ((3, 3, 9), (3, 1, 9), (4, 0, 3), (0, 0, 3)):
        asked: list[tuple[int, int]] = []

        def predict(ids: object, rows: int, asked: list[tuple[int, int]] = asked) -> torch.Tensor:
            asked.append((len(ids), rows))  # type: ignore[arg-type]
            return torch.eye(9)[[3] * rows]

        def draft(text: object, wanted: int, right: int = right) -> list[int]:
            return [3 if i < right else 4 for i in range(wanted)]

        drafting = Speculation(most=most, draft=draft)
        complete(generate(predict, [1, 2], max_new_tokens=tokens, context=99, speculation=drafting))
        counted = answer_passes(2, tokens, most, right)
        assert asked == [(each.start + each.tokens, each.rows) for each in counted]
