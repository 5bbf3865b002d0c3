"""Other attention and temperatures on the FSS suite: whole models bit by bit, near float, exactly billed."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.widths import Widths
from parties.errors import RangeError
from parties.meter import Meter
from parties.randomness import InsecureTestRandom
from protocols.fss.executors.clear import Clear
from protocols.fss.plans import is_faithful
from protocols.fss.registry import resolve as resolve_fss
from protocols.plan import Plan
from protocols.share import Share
from tests.mpcinfer.fss_bounds import check_every_operation
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
from tests.mpcinfer.test_fss_models import LLAMA, MAX_CONTEXT, ONE, PROMPT, STEPS, costs, equal
from tests.mpcinfer.three_parties import random_model

SMALL = dataclasses.replace(ONE, width=16, head_width=4, hidden=16, tied_head=False)
POWER = dataclasses.replace(SMALL, attention="power", power=4, attention_epsilon=0.1, attention_offset=True)
FORMS = {
    "power2": dataclasses.replace(POWER, power=2, attention_epsilon=1e-3),
    "power4": POWER,
    "power6": dataclasses.replace(POWER, power=6),
    "power8": dataclasses.replace(POWER, power=8, head_width=8),
    "power4, scaled": dataclasses.replace(
        LLAMA, attention="power", attention_scaled=True, attention_offset=True
    ),
    "2quad": dataclasses.replace(SMALL, attention="power", power=2, attention_shift=5.0),
    "relu": dataclasses.replace(SMALL, attention="relu", attention_offset=True),
    "power4, tempered": dataclasses.replace(POWER, temperature="position"),
    "softmax, tempered": dataclasses.replace(SMALL, temperature="position"),
    "power4, tempered, no norms": dataclasses.replace(
        POWER,
        temperature="position",
        block_norms=False,
        ffn="fused",
        activation="identity",
        out_bias=False,
        ffn_bias=False,
    ),
}
RUN = ("power4", "power6", "power4, scaled", "2quad", "relu", "power4, tempered, no norms")
"""Run privately; what the others add is in these, or in protocols' own tests."""
forms = pytest.mark.parametrize("name", RUN)
plans = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])
WIDE = 2.0**30
"""A residual that leaves no room for all fraction bits of attention's output."""


@cache
def calibrated(name: str) -> Model:
    """A random model that has seen the prompts that follow: powers of other scores may be much larger."""
    model = random_model(FORMS[name])
    ids = [token for step in STEPS for token in step]
    prompts = ["def f(x):", "return x + 1", model.tokenizer.decode(ids)]
    return dataclasses.replace(model, ranges=calibrate(model, prompts))


@cache
def whole(name: str, plan: Plan, reopened: bool = False) -> Whole:
    model = calibrated(name)
    if reopened:
        model = dataclasses.replace(model, ranges={**model.ranges, "layer0/add": WIDE})
    return Whole.of(model, plan, MAX_CONTEXT)


@cache
def private(name: str, plan: Plan, reopened: bool = False) -> PrivateRun:
    return run_private(whole(name, plan, reopened), STEPS)


# -- bit by bit --------------------------------------------------------------------------------------------


@forms
def test_a_exact_run_is_the_reference_bit_by_bit(name: str) -> None:
    assert equal(private(name, EXACT).logits, run_clear(whole(name, EXACT), STEPS))


@forms
def test_a_probabilistic_run_is_the_reference_under_the_dealers_masks_bit_by_bit(name: str) -> None:
    done = private(name, PROBABILISTIC)
    assert equal(done.logits, run_replayed(whole(name, PROBABILISTIC), STEPS, done))


@pytest.mark.parametrize("name", ["power4", "relu"])
def test_a_exact_run_does_not_depend_on_how_tokens_are_cut_into_passes(name: str) -> None:
    ids = [token for step in STEPS for token in step]
    cut: Steps = [ids[:5], ids[5:]]
    assert torch.equal(run_private(whole(name, EXACT), cut).logits[-1], private(name, EXACT).logits[-1])


@plans
@pytest.mark.parametrize("name", ["power4", "relu"])
def test_so_are_runs_whose_output_is_opened_and_cut(name: str, plan: Plan) -> None:
    model = whole(name, plan, reopened=True)
    assert model.program.widths.attention(0).reopened
    assert not whole(name, plan).program.widths.attention(0).reopened
    done = private(name, plan, reopened=True)
    reference = run_clear(model, STEPS) if is_faithful(plan) else run_replayed(model, STEPS, done)
    assert equal(done.logits, reference)
    assert all(costs(bill) == costs(run_counted(model, STEPS)) for bill in done.bills)
    assert bool((done.logits[0] - private(name, plan).logits[0]).abs().max() < 0.5)


def test_weights_after_attention_take_what_its_ring_leaves() -> None:
    model = calibrated("power4")
    seen: list[tuple[int, bool]] = []
    for bits in range(8, 32):
        widths = Widths(model.config, {**model.ranges, "layer0/add": 2.0**bits}, max_context=MAX_CONTEXT)
        attention = widths.attention(0)
        seen.append((attention.writing, attention.reopened))
        fraction = attention.weighting.mixed + attention.weighting.inverse + attention.writing
        if not attention.reopened:
            assert (
                widths.residual_bits - widths.precision.residual + fraction <= attention.quotient_bits <= 64
            )
    full, fewer = (14, False), [(bits, False) for bits in (13, 12, 11, 10)]
    assert seen[0] == full
    assert [entry for entry in seen if entry != full and not entry[1]] == fewer
    assert seen[-1] == (14, True)


# -- the bill ------------------------------------------------------------------------------------------------


@plans
@forms
def test_both_parties_measure_what_is_counted_and_what_users_are_told(name: str, plan: Plan) -> None:
    for bill in private(name, plan).bills:
        assert costs(bill) == costs(run_counted(whole(name, plan), STEPS))
    model = calibrated(name)
    told = count(
        model.config,
        plan,
        tokens=len(PROMPT),
        new_tokens=len(STEPS),
        ranges=model.ranges,
        max_context=MAX_CONTEXT,
    )
    usual = Whole.of(model, plan, MAX_CONTEXT, Widths(whole(name, plan).program.folded).precision)
    assert costs(told) == costs(run_counted(usual, STEPS))


@pytest.mark.parametrize(
    ("name", "exchanges"), [("power2", 3), ("power4", 4), ("power6", 5), ("power8", 5), ("relu", 4)]
)
def test_exchanges_of_attention(name: str, exchanges: int) -> None:
    """Softmax has six. A message one way between two exchanges may or may not be a round of its own."""
    labels = [frame.label for frame in private(name, PROBABILISTIC).frames[1]]
    online = [x for x in labels if x.startswith("layer0.attn.") and not x.endswith("/linear")]
    assert len(online) == (exchanges + 1) * len(STEPS)  # and what the server holds


# -- near the float model ------------------------------------------------------------------------------------


@plans
@forms
def test_every_operation_is_within_its_own_bound_of_float(name: str, plan: Plan) -> None:
    if not FORMS[name].block_norms:
        pytest.skip("bounds are for residuals that both parties have")
    model = Whole.of(calibrated(name), plan, MAX_CONTEXT, Precision())
    randomness = None if is_faithful(plan) else InsecureTestRandom(3)
    executor = Clear(Meter(), exact_truncation=is_faithful(plan), randomness=randomness)
    program = model.program
    backend = FssBackend(executor, program.folded, program.widths, resolve_fss(plan))
    checked = check_every_operation(backend, program.widths)
    decoder, cache = Decoder(backend, program.folded, model.server_weights()), KVCache[Share]()
    for ids in STEPS:
        decoder.forward(backend.tokens(ids, len(ids)), len(ids), cache=cache)
    assert checked["attention"] == len(STEPS)
    assert checked["apply_temperature"] == len(STEPS) * (program.folded.temperature == "position")


@pytest.mark.parametrize("name", ["power4", "relu"])
def test_the_check_rejects_attention_that_is_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = whole(name, EXACT)
    program, original = model.program, FssBackend.attention

    def larger(self: FssBackend, *arguments: object, **by_name: object) -> Share:
        result = original(self, *arguments, **by_name)  # type: ignore[arg-type] # pyright: ignore
        return dataclasses.replace(result, value=result.value + (result.value >> 1))

    monkeypatch.setattr(FssBackend, "attention", larger)
    backend = FssBackend(Clear(Meter()), program.folded, program.widths, resolve_fss(EXACT))
    check_every_operation(backend, program.widths)
    decoder = Decoder(backend, program.folded, model.server_weights())
    with pytest.raises(AssertionError, match="attention is off"):
        decoder.forward(backend.tokens(PROMPT, len(PROMPT)), len(PROMPT))


@plans
@forms
def test_logits_are_near_those_of_float(name: str, plan: Plan) -> None:
    """As the suite of all backends asks for: a tenth of the logits' spread."""
    model = calibrated(name)
    program = Whole.of(model, plan, MAX_CONTEXT, Precision())
    plain = Decoder(PlainBackend(), model.config, model.weights)
    right = plain.forward(torch.tensor([PROMPT]), len(PROMPT), rows=1).reshape(-1)
    rounding = None if is_faithful(plan) else InsecureTestRandom(5)
    (logits,) = run_clear(program, [PROMPT], rounding)
    assert float((logits - right).abs().max()) < 0.1 * float(right.std())


# -- ranges --------------------------------------------------------------------------------------------------


def model_with(config: ModelConfig, factor: float) -> tuple[Model, Model]:
    """A calibrated model, and one whose queries are larger than those calibration saw."""
    model = random_model(config)
    weights = {
        **model.weights,
        "layer0.attn.qkv.weight": model.weights["layer0.attn.qkv.weight"].clone(),
    }
    weights["layer0.attn.qkv.weight"][:, : config.heads * config.head_width] *= factor
    return model, dataclasses.replace(model, weights=weights)


@plans
@pytest.mark.parametrize("name", ["power2", "power4", "2quad", "relu"])
def test_the_reference_refuses_scores_beyond_their_range(name: str, plan: Plan) -> None:
    within, beyond = model_with(FORMS[name], 8.0)
    run_clear(Whole.of(within, plan, MAX_CONTEXT), [PROMPT])
    with pytest.raises(RangeError, match=r"layer0\.attn"):
        run_clear(Whole.of(beyond, plan, MAX_CONTEXT), [PROMPT])


def test_calibration_sees_epsilons_and_divisors() -> None:
    model = random_model(FORMS["power4, scaled"])
    ranges, epsilons = calibrate(model, ["def f(x):"]), model.weights["layer0.attn.epsilon"]
    assert ranges["layer0.attn.power/epsilon_min"] == float(epsilons.min())
    assert ranges["layer0.attn.power/epsilon_max"] == float(epsilons.max())
    weights = Widths(model.config, ranges, max_context=MAX_CONTEXT, precision=QUICK).attention(0).weighting
    assert weights.low == pytest.approx(
        ranges["layer0.attn.power/divisor_min"] / 1.5**4 + float(epsilons.min())
    )
    assert weights.high > 1.5**4 * ranges["layer0.attn.power/divisor_max"]
