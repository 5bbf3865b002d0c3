"""Power 2 over states, privately: bit by bit as its reference, near keys and values, and billed exactly."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Session
from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.state_cache import cache_of
from mpcinfer.plans import plan_from
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.fss.attention_widths import AttentionWidths
from mpcinfer.suites.fss.power_attention import power_attention
from mpcinfer.suites.fss.power_state import opened_state, require_room
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.reference import reference_decoder
from parties.errors import ConfigError
from parties.randomness import InsecureTestRandom
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.cached import to_cached
from protocols.fss.plans import is_faithful
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.registry import resolve as resolve_fss
from protocols.plan import Plan
from protocols.share import Held, Share
from tests.mpcinfer.forms import LLAMA_FORM
from tests.mpcinfer.fss_parties import (
    EXACT,
    PROBABILISTIC,
    QUICK,
    PrivateRun,
    Steps,
    Whole,
    run_clear,
    run_counted,
    run_private,
    run_replayed,
)
from tests.mpcinfer.test_fss_models import costs, equal
from tests.mpcinfer.three_parties import random_model, run_model
from tests.protocols.fss.harness import Program, Secret, run

ONE = ModelConfig(
    layers=1, width=24, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=256, context=24
)
POWER = dataclasses.replace(ONE, attention="power", power=2, attention_epsilon=1e-2)
FORMS = {
    "plain": POWER,
    "offset": dataclasses.replace(POWER, attention_offset=True),
    "shift, grouped": dataclasses.replace(POWER, heads=4, **LLAMA_FORM, attention_shift=2.0),
    "offset, grouped, scaled": dataclasses.replace(
        POWER, heads=4, **LLAMA_FORM, attention_offset=True, attention_scaled=True
    ),
}
STEPS: Steps = (list(b"f(x, y"), [41], [58], [10], [32])
MAX_CONTEXT = sum(len(ids) for ids in STEPS)
forms = pytest.mark.parametrize("name", FORMS)
plans = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])
chunks = pytest.mark.parametrize("chunk", [1, 3])


@cache
def calibrated(name: str) -> Model:
    """A random model that has seen what follows."""
    model = random_model(FORMS[name])
    text = model.tokenizer.decode([token for step in STEPS for token in step])
    return dataclasses.replace(model, ranges=calibrate(model, [text, "return x + 1"]))


@cache
def whole(name: str, plan: Plan, chunk: int, precision: Precision | None = None) -> Whole:
    plan = dataclasses.replace(plan, chunk=chunk)
    return Whole.of(calibrated(name), plan, MAX_CONTEXT, precision or QUICK)


@cache
def private(name: str, plan: Plan, chunk: int) -> PrivateRun:
    return run_private(whole(name, plan, chunk), STEPS)


@forms
@plans
@chunks
def test_a_run_over_a_state_is_its_reference_bit_by_bit(name: str, plan: Plan, chunk: int) -> None:
    done, model = private(name, plan, chunk), whole(name, plan, chunk)
    reference = run_clear(model, STEPS) if is_faithful(plan) else run_replayed(model, STEPS, done)
    assert len(done.logits) == len(STEPS)
    assert equal(done.logits, reference)


@forms
@plans
def test_both_parties_measure_what_is_counted(name: str, plan: Plan) -> None:
    counted = run_counted(whole(name, plan, 3), STEPS)
    assert any(".state" in row.label for row in counted.rows)
    for bill in private(name, plan, 3).bills:
        assert costs(bill) == costs(counted)


@forms
@plans
def test_it_is_near_keys_and_values(name: str, plan: Plan) -> None:
    """As of all backends: a tenth of the logits' spread, and no further off than twice what they are."""
    model = calibrated(name)
    plain = Decoder(PlainBackend(), model.config, model.weights)
    text = [token for step in STEPS for token in step]
    right = plain.forward(torch.tensor([text]), len(text), rows=1).reshape(-1)
    rounding = None if is_faithful(plan) else InsecureTestRandom(5)
    logits = run_clear(whole(name, plan, 3, Precision()), STEPS, rounding)[-1]
    assert float((logits - right).abs().max()) < 0.1 * float(right.std())


# -- a session ----------------------------------------------------------------------------------------------


def conversation(steps: StepClient | Session[Share, Matrix]) -> list[torch.Tensor]:
    """Passes with drafts that are taken back, and others that were dealt for and never run."""
    ids = [token for passed in STEPS for token in passed]
    ahead = {"then": 1} if isinstance(steps, StepClient) else {}
    found = [steps.step(ids[:4], **ahead), steps.step(ids[4:5], **ahead), steps.step(ids[5:9], 4, **ahead)]
    steps.rewind(6)
    found.append(steps.step(ids[8:9], **ahead))
    if isinstance(steps, StepClient):
        steps.prepare([1, 1])
    found.append(steps.step(ids[6:8], **ahead))
    steps.rewind(0)
    return [*found, steps.step(ids[:3], **ahead), steps.step(ids[3:4])]


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_session_is_the_reference_whatever_was_taken_back_or_given_up(chunk: int) -> None:
    """The dealer, and what was prepared, go back as the parties do; what an online pass moved stays."""
    plan, model = dataclasses.replace(EXACT, chunk=chunk), calibrated("offset")
    decoder = reference_decoder(model, plan, max_context=MAX_CONTEXT)
    right = conversation(Session(decoder, cache_of(chunk)))
    found, *bills = run_model(model, plan, conversation, max_context=MAX_CONTEXT)
    assert equal(found, right)
    assert all(row.label != "unused" or row.offline_bytes_to_server for row in bills[0].rows)


def test_a_pass_whose_tokens_moved_cannot_be_taken_back() -> None:
    plan, model = dataclasses.replace(EXACT, chunk=1), calibrated("plain")
    running = Session(reference_decoder(model, plan, max_context=MAX_CONTEXT), cache_of(1))
    running.step([1, 2, 3])
    running.step([4])
    with pytest.raises(ConfigError, match="--cache kv"):
        running.rewind(3)


# -- a state that is there from the start --------------------------------------------------------------------

PREFIX, TOKENS, WIDTH = 12, 3, 8


def prefixed(widths: AttentionWidths, plan: Plan, precision: Precision) -> Program:
    """Attention over a state that comes as additive sums, and a few keys."""
    form = FORMS["plain"].form_of(0)

    def program(executor: Executor, q: Share, k: Share, v: Share, sums: Share) -> Shares:
        assert widths.state is not None
        held: Share = opened_state(executor, sums, widths.state)
        state = AttentionState("pairs", held, keys=PREFIX)
        k, v = to_cached(executor, k), to_cached(executor, v)
        suite = resolve_fss(plan)
        return (power_attention(executor, suite, q, k, v, widths, precision, form, None, None, state),)

    return program


@plans
def test_a_given_state_is_the_reference_and_near_the_long_prompt(plan: Plan) -> None:
    """Bit by bit where truncation is exact; within fixed point of all keys in float."""
    model, precision, exact = whole("plain", plan, 1, Precision()), Precision(), is_faithful(plan)
    widths = model.program.widths.attention(0)
    assert widths.state is not None
    generator = torch.Generator().manual_seed(3)
    q, k, v = (
        torch.randn(1, 2, PREFIX + TOKENS, WIDTH, dtype=torch.float64, generator=generator) * at
        for at in (0.2, 1.0, 0.5)
    )
    q = q[..., PREFIX:, :]
    right = PlainBackend().attention(q, k, v, PREFIX, FORMS["plain"].form_of(0))
    seen = [each[..., :PREFIX, :] for each in (k, v)]
    sums = PlainBackend().into_state(None, seen[0], seen[1], FORMS["plain"].form_of(0), None).sums

    def secret(x: torch.Tensor, frac: int, bits: int, held: Held = Held.MASKED) -> Secret:
        return Secret((x * 2.0**frac).round().long(), frac, bits, held)

    bits, p = widths.input_bits, precision
    own = [each[..., PREFIX:, :] for each in (k, v)]
    secrets = [
        secret(q, p.query, bits[0]),
        secret(own[0], p.key, bits[1]),
        secret(own[1], p.value, bits[2]),
        secret(sums, widths.state.sums, widths.state.sum_bits, Held.ADDITIVE),
    ]
    done = run(prefixed(widths, plan, precision), secrets, exact_truncation=exact)
    found, frac = done.secret(), done.server[0].frac_bits
    if exact:
        assert torch.equal(found, done.clear[0].value)
    assert (found.double() * 2.0**-frac - right).abs().max() < 0.02
    done.check_bill()


def test_more_keys_than_the_session_has_room_for_are_refused() -> None:
    model = whole("plain", EXACT, 1)
    with pytest.raises(ConfigError, match="the session has room for 16"):
        require_room(17, model.program.widths.attention(0).weighting)


def test_other_suites_refuse_states() -> None:
    for name in ("crypten", "two-party", "poly"):
        with pytest.raises(ConfigError, match="states are for fss"):
            plan_from(name, ["cache=state"])
    assert plan_from("fss", ["cache=state:7"]).chunk == 7
    assert plan_from("fss", ["cache=kv"]) == plan_from("fss")
    for wrong in ("cache=state:0", "cache=state:x", "cache=none"):
        with pytest.raises(ConfigError, match="expected kv, state or state:CHUNK"):
            plan_from("fss", [wrong])


def test_a_plan_with_a_chunk_is_another_plan() -> None:
    plan = plan_from("fss", ["cache=state:7"])
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.digest() != plan_from("fss", ["cache=state:8"]).digest() != plan_from("fss").digest()
    with pytest.raises(ConfigError, match="no plan"):
        Plan.from_json({**plan.to_json(), "chunk": 0})
