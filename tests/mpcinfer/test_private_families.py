"""What families add to a block, privately: references bit by bit or within their error, billed exactly."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.suites.fss.formats import score_index_bits
from mpcinfer.suites.registry import get_plan
from protocols.fss.gates.coarse_maximum import MAX_RING_BITS
from protocols.fss.plans import is_faithful
from protocols.plan import Plan
from tests.mpcinfer.forms import LLAMA_FORM
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
from tests.mpcinfer.models.family_cases import logits_of
from tests.mpcinfer.test_fss_models import costs, equal
from tests.mpcinfer.test_private_models import _costs
from tests.mpcinfer.three_parties import random_model, run_model

_BASE = ModelConfig(
    layers=1, width=16, heads=2, kv_heads=2, head_width=8, hidden=16, vocabulary=256, context=16
)
_LLAMA = dataclasses.replace(_BASE, **LLAMA_FORM, kv_heads=1, tied_head=False)
FORMS = {
    "parallel, part of a head turns, a bias on the head": dataclasses.replace(
        _BASE, positions="rope", rope_width=4, parallel=True, tied_head=False, head_bias=True
    ),
    "norms of heads, and after attention and FFN": dataclasses.replace(
        _LLAMA,
        qk_norm=True,
        post_norms=True,
        activation="gelu_tanh",
        local_rope_base=50.0,
        local_rope_layers=(0,),
    ),
    "caps of scores and logits": dataclasses.replace(
        _LLAMA, layers=2, post_norms=True, windows=(3, 0), score_cap=0.3, logit_cap=3.0
    ),
    "windows, a layer that does not turn": dataclasses.replace(
        _LLAMA, layers=2, windows=(3, 0), unrotated=(0,), rope_divisors=(1.0, 2.0, 3.0, 8.0)
    ),
}
PROMPT = list(b"f(x, y")
STEPS: Steps = (PROMPT, [41], [58])
MAX_CONTEXT = len(PROMPT) + 2
forms = pytest.mark.parametrize("config", FORMS.values(), ids=FORMS)
plans = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])


@cache
def whole(config: ModelConfig, plan: Plan) -> Whole:
    return Whole.of(random_model(config), plan, MAX_CONTEXT)


@cache
def private(config: ModelConfig, plan: Plan) -> PrivateRun:
    return run_private(whole(config, plan), STEPS)


@plans
@forms
def test_a_run_is_the_reference_bit_by_bit(config: ModelConfig, plan: Plan) -> None:
    model, done = whole(config, plan), private(config, plan)
    right = run_clear(model, STEPS) if is_faithful(plan) else run_replayed(model, STEPS, done)
    assert len(done.logits) == len(STEPS)
    assert equal(done.logits, right)


@plans
@forms
def test_and_near_the_float_model(config: ModelConfig, plan: Plan) -> None:
    ids = [token for step in STEPS for token in step]
    right = logits_of(whole(config, plan).model, ids)[-1]
    error = (private(config, plan).logits[-1] - right).abs().max()
    # As for the models of `test_private_models`; cells here are coarse (`QUICK`).
    assert float(error) < 0.15 * float(right.std())


@plans
@forms
def test_parties_measure_what_is_counted(config: ModelConfig, plan: Plan) -> None:
    counted = run_counted(whole(config, plan), STEPS)
    for bill in private(config, plan).bills:
        assert costs(bill) == costs(counted)


@forms
def test_on_additive_shares(config: ModelConfig) -> None:
    model, plan = random_model(config), get_plan("crypten")
    logits, bill, _ = run_model(model, plan, lambda steps: [steps.step(ids) for ids in STEPS])
    right = logits_of(model, [token for step in STEPS for token in step])
    assert float((logits[-1] - right[-1]).abs().max()) < 0.1 * float(right.std())
    counted = count(config, plan, tokens=len(PROMPT), new_tokens=len(STEPS), ranges=model.ranges)
    assert _costs(bill) == _costs(counted)


@pytest.mark.parametrize("plan", ["fss", "crypten"])
def test_norms_of_queries_and_keys_take_the_rounds_of_one(plan: str) -> None:
    config = FORMS["norms of heads, and after attention and FFN"]
    rows = {row.label: row.rounds for row in count(config, get_plan(plan), tokens=4).rows}
    gain = plan == "crypten"  # keys are multiplied by theirs after queries
    assert rows["layer0.attn.qk_norm"] == rows["layer0.attn.post"] + gain


@pytest.mark.parametrize(("plan", "norms"), [("fss", 1), ("crypten", 1), ("crypten-stock", 2)])
def test_parallel_parts_of_a_block_read_one_norm_where_gains_are_folded(plan: str, norms: int) -> None:
    config = FORMS["parallel, part of a head turns, a bias on the head"]
    rows = [row.label for row in count(config, get_plan(plan), tokens=4).rows if row.rounds]
    assert len([label for label in rows if label in ("layer0.norm1", "layer0.norm2")]) == norms


def with_large_key_biases() -> Model:
    """As Qwen2 has them: scores of a thousand, which no histogram holds."""
    model = random_model(dataclasses.replace(_LLAMA, qkv_bias=True))
    bias = model.weights["layer0.attn.qkv.bias"].clone()
    keys = slice(_LLAMA.heads * _LLAMA.head_width, (_LLAMA.heads + _LLAMA.kv_heads) * _LLAMA.head_width)
    bias[keys] = 600.0 * torch.randn(_LLAMA.head_width, generator=torch.Generator().manual_seed(2))
    model = dataclasses.replace(model, weights={**model.weights, "layer0.attn.qkv.bias": bias})
    return dataclasses.replace(model, ranges=calibrate(model, ["f(x, y): z", "return 1"]))


@plans
def test_large_key_biases_run_by_default(plan: Plan) -> None:
    model = Whole.of(with_large_key_biases(), plan, MAX_CONTEXT)
    widths = model.program.widths
    assert score_index_bits(widths.attention(0), -widths.precision.step) > MAX_RING_BITS
    done = run_private(model, STEPS)
    right = run_clear(model, STEPS) if is_faithful(plan) else run_replayed(model, STEPS, done)
    assert equal(done.logits, right)
    assert all(costs(bill) == costs(run_counted(model, STEPS)) for bill in done.bills)
    float_logits = logits_of(model.model, [token for step in STEPS for token in step])[-1]
    assert float((done.logits[-1] - float_logits).abs().max()) < 0.15 * float(float_logits.std())


def test_a_window_costs_less_and_one_as_long_as_the_context_nothing_more() -> None:
    shown = dataclasses.replace(_LLAMA, windows=(3,))
    long = dataclasses.replace(_LLAMA, windows=(MAX_CONTEXT,))
    for name in ("fss", "crypten"):
        bills = [
            count(config, get_plan(name), tokens=len(PROMPT), new_tokens=2).total
            for config in (shown, _LLAMA, long)
        ]
        assert bills[0].online_bytes_to_client < bills[1].online_bytes_to_client
        assert bills[0].offline_bytes_to_server <= bills[1].offline_bytes_to_server
        assert dataclasses.replace(bills[1], seconds=0.0) == dataclasses.replace(bills[2], seconds=0.0)


def test_windows_change_what_is_seen() -> None:
    """The control: the float model with its windows and without differ where queries are beyond them."""
    model = random_model(dataclasses.replace(_LLAMA, windows=(3,)))
    without = dataclasses.replace(model, config=_LLAMA)
    ours, others = logits_of(model, PROMPT), logits_of(without, PROMPT)
    assert torch.equal(ours[:3], others[:3])
    assert float((ours[3:] - others[3:]).abs().amin(0).max()) > 1e-3
