"""Comparing a private answer with the reference: bit by bit, to within rounding, or not the same."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.answer import Answer
from mpcinfer.clear import ClearModel
from mpcinfer.models.bounds import rounding_of_logits
from mpcinfer.models.model import Model
from mpcinfer.sampling import greedy
from mpcinfer.suites.registry import get_plan
from mpcinfer.verification import UNCHECKABLE, UNCHECKED, Witness, unchecked, verify
from parties.bill import Bill
from tests.mpcinfer.test_private_models import GPT2
from tests.mpcinfer.three_parties import random_model

PROMPT = "def f(x"
CONTEXT = GPT2.context
SMALL = dataclasses.replace(GPT2, layers=1)


def _answered(model: Model, plan: str) -> tuple[Answer, list[torch.Tensor]]:
    """What a private run under exact truncation gives, which is the reference itself, token by token."""
    witness = Witness(greedy)
    clear = ClearModel(model, fixed_point=True, plan=plan, max_context=CONTEXT)
    return clear.complete(PROMPT, max_new_tokens=3, sampler=witness), witness.logits


@pytest.mark.parametrize("plan", ["fss-faithful", "crypten"])
def test_the_same_logits_are_the_same(plan: str) -> None:
    model = random_model(SMALL)
    answer, logits = _answered(model, plan)
    assert len(logits) == len(answer.ids) == 3
    verdict = verify(model, get_plan(plan), PROMPT, answer, logits, max_context=CONTEXT)
    assert verdict.same
    assert "bit by bit, 3 times" in verdict.text


def test_a_logit_that_differs_in_its_last_bit_is_seen() -> None:
    model = random_model(SMALL)
    answer, logits = _answered(model, "fss-faithful")
    logits[1][5] += 2.0**-16
    verdict = verify(model, get_plan("fss-faithful"), PROMPT, answer, logits, max_context=CONTEXT)
    assert not verdict.same
    assert "From token 2 of the answer on" in verdict.text


def test_rounding_is_told_from_what_it_does_not_explain() -> None:
    model = random_model(SMALL)
    answer, logits = _answered(model, "crypten")
    allowed = rounding_of_logits(model.ranges)
    for factor, same in ((0.9, True), (1.1, False)):
        off = [*logits[:2], logits[2] + factor * allowed]
        verdict = verify(model, get_plan("crypten"), PROMPT, answer, off, max_context=CONTEXT)
        assert verdict.same is same
        assert "rounding" in verdict.text


def test_other_weights_are_told() -> None:
    model = random_model(SMALL)
    answer, logits = _answered(model, "fss-faithful")
    weights = {**model.weights, "head.norm.bias": model.weights["head.norm.bias"] + 0.5}
    other = dataclasses.replace(model, weights=weights)
    verdict = verify(other, get_plan("fss"), PROMPT, answer, logits, max_context=CONTEXT)
    assert not verdict.same
    assert verdict.text.startswith("NOT VERIFIED: this is not what")


def test_a_value_beyond_its_range_is_told() -> None:
    model = random_model(SMALL)
    answer, logits = _answered(model, "fss-faithful")
    narrow = {key: value / 64 if "ffn.in/" in key else value for key, value in model.ranges.items()}
    other = dataclasses.replace(model, ranges=narrow)
    verdict = verify(other, get_plan("fss"), PROMPT, answer, logits, max_context=CONTEXT)
    assert not verdict.same
    assert "a value leaves its range" in verdict.text


def test_the_verdict_stands_where_it_said_that_nothing_was_checked() -> None:
    model = random_model(SMALL)
    answer, logits = _answered(model, "fss-faithful")
    verdict = verify(model, get_plan("fss-faithful"), PROMPT, answer, logits, max_context=CONTEXT)
    for note in (UNCHECKED, UNCHECKABLE):
        bill = Bill(rows=[], notes=["first", note])
        verdict.put_on(bill)
        assert bill.notes == ["first", verdict.text]


@pytest.mark.parametrize(("plan", "checks"), [("fss", True), ("crypten", False), ("two-party", False)])
def test_a_bill_advises_what_the_plan_can_do(plan: str, checks: bool) -> None:
    assert ("--check-ranges" in unchecked(get_plan(plan))) == checks
