"""Models without norms in their blocks on the FSS suite: their references bit by bit, billed exactly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
import torch

from mpcinfer.counting import count
from mpcinfer.suites.fss.program import Program
from parties.bill import Bill
from parties.randomness import InsecureTestRandom
from protocols.fss.plans import is_faithful
from protocols.plan import Plan
from tests.mpcinfer.fss_parties import (
    EXACT,
    PROBABILISTIC,
    PrivateRun,
    Steps,
    Whole,
    run_clear,
    run_counted,
    run_private,
    run_replayed,
)
from tests.mpcinfer.models import paper
from tests.mpcinfer.variant_models import FOLDED, variant_model

PROMPT = list(b"f(x, y")
STEPS: Steps = (PROMPT, [41], [58])
MAX_CONTEXT = len(PROMPT) + 2
Form = tuple[str, bool, bool]
"""Name, whether there is a final norm, whether the head is the token table."""
FORMS: list[Form] = [
    ("SM+ScFuFFN", True, True),
    (f"{FOLDED}SM+ScFuFFN", True, True),
    ("SM+G", True, True),
    ("SM+R", False, False),
    ("SM(t)+ScFuFFN_i1", False, True),
    (f"{FOLDED}SM(t)+ScFuFFN", False, True),
    (f"{FOLDED}SM+ScFuFFN", False, False),
    ("SM+ScFFN", True, False),
    ("SM+DyT+G", True, True),
    ("SM+Derf+G", True, False),
    ("SM+LinLN+G", True, True),
    ("gaussian", True, True),
]
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


def named(form: Form) -> str:
    name, final_norm, tied_head = form
    return f"{name}, {'' if final_norm else 'no '}final norm, {'tied' if tied_head else 'own'} head"


forms = pytest.mark.parametrize("form", FORMS, ids=named)
plans = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])


@cache
def whole(form: Form, plan: Plan) -> Whole:
    name, final_norm, tied_head = form
    return Whole.of(variant_model(name, final_norm=final_norm, tied_head=tied_head), plan, MAX_CONTEXT)


@cache
def private(form: Form, plan: Plan) -> PrivateRun:
    return run_private(whole(form, plan), STEPS)


def costs(bill: Bill) -> dict[str, tuple[int, ...]]:
    rows = {row.label: tuple(getattr(row, name) for name in COSTS) for row in bill.rows}
    return {label: row for label, row in rows.items() if any(row)}


def equal(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@forms
def test_a_exact_run_is_the_reference_bit_by_bit(form: Form) -> None:
    logits = private(form, EXACT).logits
    assert len(logits) == len(STEPS)
    assert equal(logits, run_clear(whole(form, EXACT), STEPS))


@forms
def test_a_probabilistic_run_is_the_reference_under_the_dealers_masks_bit_by_bit(form: Form) -> None:
    done = private(form, PROBABILISTIC)
    assert equal(done.logits, run_replayed(whole(form, PROBABILISTIC), STEPS, done))


@plans
@forms
def test_the_reference_is_near_the_papers_function(form: Form, plan: Plan) -> None:
    """At the plan's own precision: 13 fraction bits in the residual, 8 significant ones in reciprocals."""
    name, final_norm, tied_head = form
    model = variant_model(name, final_norm=final_norm, tied_head=tied_head)
    weights = {key: value.double() for key, value in model.weights.items()}
    right = paper.logits(model.config, weights, PROMPT)[-1]
    usual = Whole(model, Program.of(plan, model.config, model.ranges, MAX_CONTEXT))
    rounding = None if is_faithful(plan) else InsecureTestRandom(3)
    (logits,) = run_clear(usual, [PROMPT], rounding)
    assert float((logits - right).abs().max()) < 0.02 * float(right.std())


@plans
@forms
def test_both_parties_measure_what_is_counted_label_by_label(form: Form, plan: Plan) -> None:
    model = whole(form, plan)
    counted = run_counted(model, STEPS)
    for bill in private(form, plan).bills:
        assert costs(bill) == costs(counted)


@plans
@forms
def test_that_is_what_users_are_told(form: Form, plan: Plan) -> None:
    name, final_norm, tied_head = form
    model = variant_model(name, final_norm=final_norm, tied_head=tied_head)
    usual = Whole(model, Program.of(plan, model.config, model.ranges, MAX_CONTEXT))
    told = count(model.config, plan, tokens=len(PROMPT), new_tokens=len(STEPS), ranges=model.ranges)
    assert costs(told) == costs(run_counted(usual, STEPS))
