"""Variants on CrypTen's executor: the fixed-point reference's tokens, near the papers' function, and
billed."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.counting import count
from mpcinfer.generation import Session
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.model import Model
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from tests.mpcinfer.models import paper
from tests.mpcinfer.three_parties import run_model
from tests.mpcinfer.variant_models import FOLDED, variant_model

PROMPT = list(b"f(x, y")
STEPS = 3
Form = tuple[str, bool, bool]
"""Name, whether there is a final norm, whether the head is the token table."""
FORMS: list[Form] = [
    ("SM+ScFuFFN", True, True),
    ("SM(t)+ScFuFFN_i1", False, True),
    (f"{FOLDED}SM+ScFuFFN", True, True),
    (f"{FOLDED}SM+ScFuFFN", False, False),
    ("SM+G", True, True),
    ("SM+WNorm", True, False),
    ("SM+LN", True, True),
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
    "setup_bytes",
)
forms = pytest.mark.parametrize("form", FORMS, ids=str)


def model_of(form: Form) -> Model:
    name, final_norm, tied_head = form
    return variant_model(name, final_norm=final_norm, tied_head=tied_head)


@cache
def in_fixed_point(form: Form) -> tuple[torch.Tensor, list[int]]:
    """Logits after the prompt, and greedy tokens."""
    model, backend = model_of(form), FixedBackend()
    config, weights = fold(model.config, model.weights)
    return _decode(Session(Decoder(backend, config, backend.load(weights))))


def _decode(steps: StepClient | Session[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, list[int]]:
    logits = first = steps.step(PROMPT)
    tokens = [int(logits.argmax())]
    while len(tokens) < STEPS:
        logits = steps.step([tokens[-1]])
        tokens.append(int(logits.argmax()))
    return first, tokens


@forms
def test_fixed_point_is_near_the_papers_function(form: Form) -> None:
    """16 fraction bits; two layers whose matrices neither amplify nor damp values much."""
    model = model_of(form)
    weights = {name: value.double() for name, value in model.weights.items()}
    right = paper.logits(model.config, weights, PROMPT)[-1]
    logits, _ = in_fixed_point(form)
    assert float((logits - right).abs().max()) < 1e-2 * float(right.std())


@pytest.mark.parametrize("plan", ["crypten", "crypten-stock"])
@forms
def test_a_private_run_gives_these_tokens_and_the_counted_bill(form: Form, plan: str) -> None:
    model, chosen = model_of(form), get_plan(plan)
    (logits, tokens), bill, server_bill = run_model(model, chosen, _decode)
    right, right_tokens = in_fixed_point(form)
    # As in test_private_models: stated errors of single protocols pass through two layers.
    assert float((logits - right).abs().max()) < 0.1 * float(right.std())
    assert tokens == right_tokens
    counted = count(model.config, chosen, tokens=len(PROMPT), new_tokens=STEPS, ranges=model.ranges)
    assert _costs(bill) == _costs(server_bill) == _costs(counted)


def _costs(bill: Bill) -> dict[str, tuple[int, ...]]:
    rows = {row.label: tuple(getattr(row, name) for name in COSTS) for row in bill.rows}
    return {label: row for label, row in rows.items() if any(row)}
