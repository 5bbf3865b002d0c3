"""Whole models on the FSS suite: their references bit by bit, near the float model, and billed exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.fold import fold, fold_centring, scale_queries
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.fss.precision import Precision
from parties.bill import Bill
from parties.errors import ConfigError, RangeError
from parties.meter import Meter
from parties.randomness import InsecureTestRandom
from protocols.fss.executors.clear import Clear
from protocols.fss.plans import is_faithful
from protocols.fss.registry import resolve as resolve_fss
from protocols.plan import Plan
from protocols.share import Share
from tests.mpcinfer.forms import LLAMA_FORM
from tests.mpcinfer.fss_bounds import FssBounds, check_every_operation
from tests.mpcinfer.fss_parties import (
    ALTERNATIVES,
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
from tests.mpcinfer.three_parties import random_model

GPT2 = ModelConfig(
    layers=2, width=24, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=256, context=24
)
ONE = dataclasses.replace(GPT2, layers=1)
LLAMA = dataclasses.replace(ONE, heads=4, **LLAMA_FORM, tied_head=False)
MODELS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "relu": dataclasses.replace(ONE, activation="relu", norm="rmsnorm", tied_head=False),
    "llama-adjacent": dataclasses.replace(LLAMA, head_width=4, rope_pairs="adjacent", tied_head=True),
    "gpt2-erf": dataclasses.replace(ONE, head_width=16, activation="gelu", tied_head=False),
}
PROMPT = list(b"f(x, y")
STEPS: Steps = (PROMPT, [41], [58])
MAX_CONTEXT = len(PROMPT) + 2
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
OTHERS = {**ALTERNATIVES, "maximum=tree, faithful": EXACT.replace(maximum="tree")}
FORMS = {"gelu": "gpt2-erf", "silu": "llama-adjacent", "embedding": "llama-adjacent"}
"""On which model an operation's other protocols are tried, where it is not `relu`."""
models = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
plans = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])


@cache
def whole(config: ModelConfig, plan: Plan) -> Whole:
    return Whole.of(random_model(config), plan, MAX_CONTEXT)


@cache
def private(config: ModelConfig, plan: Plan) -> PrivateRun:
    return run_private(whole(config, plan), STEPS)


def equal(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# -- bit by bit --------------------------------------------------------------------------------------------


@models
def test_a_exact_run_is_the_reference_bit_by_bit(config: ModelConfig) -> None:
    logits = private(config, EXACT).logits
    assert len(logits) == len(STEPS)
    assert equal(logits, run_clear(whole(config, EXACT), STEPS))


@models
def test_a_probabilistic_run_is_the_reference_under_the_dealers_masks_bit_by_bit(config: ModelConfig) -> None:
    done = private(config, PROBABILISTIC)
    assert equal(done.logits, run_replayed(whole(config, PROBABILISTIC), STEPS, done))


@pytest.mark.parametrize("name", OTHERS)
def test_so_are_runs_of_other_protocols(name: str) -> None:
    plan, config = OTHERS[name], MODELS[FORMS.get(name.split("=", maxsplit=1)[0], "relu")]
    model, done = whole(config, plan), private(config, plan)
    reference = run_clear(model, STEPS) if is_faithful(plan) else run_replayed(model, STEPS, done)
    assert equal(done.logits, reference)


def test_probabilistic_runs_differ_by_their_masks_alone() -> None:
    """The control of the test above: other masks round otherwise."""
    model = whole(MODELS["relu"], PROBABILISTIC)
    done = run_private(model, STEPS, seed=2)
    other = run_replayed(model, STEPS, done, seed=2)
    assert equal(done.logits, other)
    assert not equal(run_replayed(model, STEPS, done, seed=1), other)
    assert not equal(run_replayed(model, STEPS, seed=2), other)
    assert not equal(run_clear(model, STEPS), other)


@pytest.mark.parametrize("name", ["relu", "llama-adjacent"])
def test_a_exact_run_does_not_depend_on_how_tokens_are_cut_into_passes(name: str) -> None:
    model = whole(MODELS[name], EXACT)
    ids = [token for step in STEPS for token in step]
    once = private(MODELS[name], EXACT).logits[-1]
    assert torch.equal(run_private(model, [ids[:5], ids[5:]]).logits[-1], once)


# -- the bill ------------------------------------------------------------------------------------------------


def costs(bill: Bill) -> dict[str, tuple[int, ...]]:
    rows = {row.label: tuple(getattr(row, name) for name in COSTS) for row in bill.rows}
    return {label: row for label, row in rows.items() if any(row)}


@plans
@models
def test_both_parties_measure_what_is_counted_label_by_label(config: ModelConfig, plan: Plan) -> None:
    counted = run_counted(whole(config, plan), STEPS)
    for bill in private(config, plan).bills:
        assert costs(bill) == costs(counted)
    total = counted.total
    assert min(getattr(total, name) for name in COSTS) > 0


@plans
@models
def test_that_is_what_users_are_told(config: ModelConfig, plan: Plan) -> None:
    model = Whole.of(random_model(config), plan, MAX_CONTEXT, Precision())
    ranges, tokens, new_tokens = model.model.ranges, len(PROMPT), len(STEPS)
    told = count(config, plan, tokens=tokens, new_tokens=new_tokens, ranges=ranges)
    assert costs(told) == costs(run_counted(model, STEPS))


# -- near the float model ------------------------------------------------------------------------------------


@plans
@models
def test_every_operation_is_within_its_own_bound_of_float(config: ModelConfig, plan: Plan) -> None:
    model = Whole.of(random_model(config), plan, MAX_CONTEXT, Precision())
    randomness = None if is_faithful(plan) else InsecureTestRandom(3)
    executor = Clear(Meter(), exact_truncation=is_faithful(plan), randomness=randomness)
    program = model.program
    backend = FssBackend(executor, program.folded, program.widths, resolve_fss(plan))
    checked = check_every_operation(backend, program.widths)
    decoder, cache = Decoder(backend, program.folded, model.server_weights()), KVCache[Share]()
    for ids in STEPS:
        decoder.forward(backend.tokens(ids, len(ids)), len(ids), cache=cache)
    passes, layers = len(STEPS), config.layers
    assert checked["attention"] == checked["attention_inputs"] == passes * layers
    assert checked["activation"] + checked["gated"] == passes * layers
    assert checked["norm"] == passes * (2 * layers + 1)
    assert checked["linear"] == passes * 4 * layers
    assert checked["embedded"] == checked["head"] == passes


FINE = Precision(
    residual=17,
    weight=15,
    embedding=18,
    query=14,
    key=13,
    value=14,
    score=12,
    power=16,
    mixed=16,
    row=14,
    inverse=13,
    cells=8,
    exact_cells=12,
    activation=15,
    index=12,
    table=15,
    gate=14,
    rotation=12,
    logits=14,
)
"""The bound assumes the worst at every step and so grows fast; fine steps let it say something."""


def gentle(config: ModelConfig) -> Model:
    """A small model of one layer whose matrices hardly amplify."""
    small = dataclasses.replace(
        config, layers=1, width=16, head_width=4, hidden=16, context=12, tied_head=False
    )
    model = random_model(small)
    weights = {
        name: 0.4 * value if name.startswith("layer") and value.dim() == 2 else value
        for name, value in model.weights.items()
    }
    model = dataclasses.replace(model, weights=weights)
    return dataclasses.replace(model, ranges=calibrate(model, ["def f(x):", "return x + 1"]))


def fine(config: ModelConfig, plan: Plan) -> Whole:
    return Whole.of(gentle(config), plan, len(PROMPT), FINE)


def bounded(model: Whole) -> tuple[torch.Tensor, torch.Tensor]:
    """Float logits of the prompt, [V], and how far from them a run may be."""
    bounds, count = FssBounds(model.program.widths, exact_truncation=model.exact_truncation), len(PROMPT)
    weights = {name: value.double() for name, value in model.model.weights.items()}
    folded, own = fold(model.model.config, weights)
    decoder = Decoder(bounds, folded, scale_queries(folded, fold_centring(folded, own)))
    result = decoder.forward(bounds.tokens(PROMPT, count), count, rows=1)
    plain = PlainBackend()
    plain_decoder = Decoder(plain, model.model.config, weights)
    right = plain_decoder.forward(plain.tokens(PROMPT, count), count, rows=1)
    assert float((right - result.value).abs().max()) < 1e-9  # both folds are exact
    # The run folds weights that are kept in float32: 2^-24 of each, far below any step of the grid.
    return right.reshape(-1), result.error.reshape(-1) * 1.001


@plans
@pytest.mark.parametrize("name", ["gpt2", "llama", "relu"])
def test_logits_are_within_the_derived_bound_of_float(name: str, plan: Plan) -> None:
    model = fine(MODELS[name], plan)
    right, error = bounded(model)
    assert float(error.max()) < 0.2 * float(right.std())  # a bound that says something
    (logits,) = run_clear(model, [PROMPT]) if is_faithful(plan) else run_replayed(model, [PROMPT])
    assert bool(((logits - right).abs() <= error).all())


@pytest.mark.parametrize("name", ["gpt2", "llama", "relu"])
def test_both_plans_are_within_the_sum_of_their_bounds(name: str) -> None:
    free, exact_truncation = (fine(MODELS[name], plan) for plan in (PROBABILISTIC, EXACT))
    allowed = bounded(free)[1] + bounded(exact_truncation)[1]
    (near,), (exact,) = run_replayed(free, [PROMPT]), run_clear(exact_truncation, [PROMPT])
    assert bool(((near - exact).abs() <= allowed).all())
    assert not torch.equal(near, exact)


Operation = Callable[..., object]


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ("attention_inputs", lambda right: lambda q, k, v, start: right(q, k, k, start)),
        ("activation", lambda right: lambda x, kind: right(x, "relu")),
        ("add", lambda right: lambda a, b: a),
    ],
    ids=["attention", "activation", "add"],
)
def test_the_bound_rejects_a_wrong_operation(
    operation: str, wrong: Callable[[Operation], Operation], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fine(GPT2, EXACT)
    right, error = bounded(model)
    original = getattr(FssBackend, operation)

    def replaced(self: FssBackend, *arguments: object) -> object:
        return wrong(lambda *others: original(self, *others))(*arguments)

    monkeypatch.setattr(FssBackend, operation, replaced)
    (logits,) = run_clear(model, [PROMPT])
    assert bool(((logits - right).abs() > error).any())


@pytest.mark.parametrize("operation", ["norm", "attention", "linear", "activation"])
def test_the_check_of_single_operations_rejects_one_that_is_off(
    operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = whole(MODELS["relu"], EXACT)
    program, original = model.program, getattr(FssBackend, operation)

    def larger(self: FssBackend, *arguments: object, **by_name: object) -> Share:
        result = original(self, *arguments, **by_name)
        return dataclasses.replace(result, value=result.value + (result.value >> 1))

    monkeypatch.setattr(FssBackend, operation, larger)
    backend = FssBackend(Clear(Meter()), program.folded, program.widths, resolve_fss(EXACT))
    check_every_operation(backend, program.widths)
    decoder = Decoder(backend, program.folded, model.server_weights())
    with pytest.raises(AssertionError, match=f"{operation} is off"):
        decoder.forward(backend.tokens(PROMPT, len(PROMPT)), len(PROMPT))


# -- ranges --------------------------------------------------------------------------------------------------

WILD = 200


def with_a_wild_token(factor: float) -> Model:
    """Calibrated on prompts without one token, whose row of the embedding is much larger than others."""
    model = random_model(MODELS["relu"])
    table = model.weights["embed.tokens"].clone()
    table[WILD] *= factor
    return dataclasses.replace(model, weights={**model.weights, "embed.tokens": table})


@plans
def test_the_reference_refuses_a_prompt_that_leaves_its_widths(plan: Plan) -> None:
    model = Whole.of(with_a_wild_token(20.0), plan, MAX_CONTEXT)
    assert len(run_clear(model, [PROMPT])) == 1
    reference = run_clear if is_faithful(plan) else run_replayed
    with pytest.raises(RangeError, match="embedding"):
        reference(model, [[*PROMPT, WILD]])


@plans
@pytest.mark.parametrize(
    ("weight", "factor", "where"),
    [
        ("layer0.attn.qkv.weight", 40.0, r"layer0\.attn"),
        ("layer0.ffn.in.weight", 30.0, r"layer0\.ffn"),
        ("layer0.ffn.out.weight", 60.0, r"layer0"),
        ("head.weight", 40.0, r"head"),
    ],
)
def test_the_reference_refuses_values_beyond_their_ranges(
    weight: str, factor: float, where: str, plan: Plan
) -> None:
    model = random_model(MODELS["relu"])
    weights = {**model.weights, weight: factor * model.weights[weight]}
    with pytest.raises(RangeError, match=where):
        run_clear(Whole.of(dataclasses.replace(model, weights=weights), plan, MAX_CONTEXT), [PROMPT])


@plans
def test_fewer_fraction_bits_in_the_embedding_than_in_the_residual_are_refused(plan: Plan) -> None:
    precision = Precision(embedding=10, residual=12)
    model = Whole.of(random_model(MODELS["relu"]), plan, MAX_CONTEXT, precision)
    with pytest.raises(ConfigError):
        run_clear(model, [PROMPT])
