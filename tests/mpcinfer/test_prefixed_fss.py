"""Softmax attention over a prefix's states under fss: its reference bit by bit, near float, and its bill."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.counting import count
from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.prefix_formats import PREFIX_FRAC
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.suites.fss.program import Program
from parties.errors import ConfigError, PeerMismatch, RangeError
from parties.randomness import InsecureTestRandom
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
)
from tests.mpcinfer.test_fss_models import LLAMA, ONE, costs
from tests.mpcinfer.three_parties import random_model

MODELS = {
    "gpt2": dataclasses.replace(ONE, heads=2, head_width=16, tied_head=False),
    "llama, capped": dataclasses.replace(LLAMA, score_cap=5.0),
}
PROMPT = list(b"f(x, y")
STEPS: Steps = (PROMPT, [41], [58])
MAX_CONTEXT = len(PROMPT) + 2
models = pytest.mark.parametrize("name", MODELS)
plans = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])


def states(config: ModelConfig) -> list[torch.Tensor]:
    """[Z, z] of every layer, z not negative."""
    generator = torch.Generator().manual_seed(3)
    shape = (1, config.heads, config.head_width, config.head_width + 1)
    drawn = [torch.randn(shape, generator=generator).double() * 3.0 for _ in range(config.layers)]
    return [torch.cat([each[..., :-1], each[..., -1:].abs()], -1) for each in drawn]


@cache
def whole(name: str, plan: Plan) -> Whole:
    """Summands of both parties are uniform words."""
    model = random_model(MODELS[name])
    fixed = [(each * 2.0**PREFIX_FRAC).round().to(torch.int64) for each in states(MODELS[name])]
    stream = InsecureTestRandom(7)
    client = [torch.from_numpy(stream.words(tuple(each.shape), 64)) for each in fixed]
    server = [each - mask for each, mask in zip(fixed, client, strict=True)]
    program = Program.of(plan, model.config, model.ranges, MAX_CONTEXT, prefix="square")
    parts = [PrefixPart(features="square", sums=each) for each in (server, client)]
    return Whole(model, program, (parts[0], parts[1]))


@cache
def private(name: str, plan: Plan) -> PrivateRun:
    return run_private(whole(name, plan), STEPS)


@models
def test_an_exact_run_is_the_reference_bit_by_bit(name: str) -> None:
    reference = run_clear(whole(name, EXACT), STEPS)
    logits = private(name, EXACT).logits
    assert len(logits) == len(STEPS)
    assert all(torch.equal(a, b) for a, b in zip(logits, reference, strict=True))


@plans
@models
def test_both_parties_measure_what_is_counted_and_what_users_are_told(name: str, plan: Plan) -> None:
    counted = run_counted(whole(name, plan), STEPS)
    for bill in private(name, plan).bills:
        assert costs(bill) == costs(counted)
    model = whole(name, plan).model
    told = count(
        MODELS[name],
        plan,
        tokens=len(PROMPT),
        new_tokens=len(STEPS),
        ranges=model.ranges,
        prefix="square",
    )
    assert costs(told) == costs(counted)


@plans
@models
def test_it_is_near_the_float_model_that_sees_the_prefix(name: str, plan: Plan) -> None:
    """Within a hundredth of what the prefix changes; without one, errors of these models are as large."""
    model, plain = whole(name, plan).model, PlainBackend()
    config, weights = model.config, {key: value.double() for key, value in model.weights.items()}

    def logits(prefix: list[AttentionState[torch.Tensor]]) -> torch.Tensor:
        decoder = Decoder(plain, config, weights, prefix)
        return decoder.forward(plain.tokens(PROMPT, len(PROMPT)), len(PROMPT), rows=1).reshape(-1)

    right = logits([AttentionState("square", each) for each in states(config)])
    effect = float((logits([]) - right).abs().max())
    assert effect > 1
    assert float((private(name, plan).logits[0].reshape(-1) - right).abs().max()) < 0.02 * effect


def test_rounds_are_two_a_layer_more() -> None:
    """The opening of states shares a round with the set-up."""
    config = dataclasses.replace(MODELS["gpt2"], layers=2)
    ranges = random_model(config).ranges
    rounds = [
        count(config, PROBABILISTIC, tokens=6, new_tokens=3, ranges=ranges, prefix=prefix).total.rounds
        for prefix in (None, "square")
    ]
    assert rounds[1] == rounds[0] + 3 * 2 * config.layers


def test_a_prefix_larger_than_its_ring_is_refused_by_the_reference() -> None:
    usual = whole("gpt2", EXACT)
    assert usual.prefix is not None
    large = [each * 0 + (1 << 40) for each in usual.prefix[0].sums]
    spoiled = PrefixPart(features="square", sums=large)
    none = PrefixPart(features="square", sums=[each * 0 for each in large])
    spoiled = dataclasses.replace(usual, prefix=(spoiled, none))
    with pytest.raises(RangeError, match="does not fit"):
        run_clear(spoiled, STEPS[:1])


def test_what_has_no_protocol_is_refused_by_name() -> None:
    model = random_model(MODELS["gpt2"])
    of = (PROBABILISTIC, model.config, model.ranges, MAX_CONTEXT)
    with pytest.raises(ConfigError, match="features elu are for runs in float"):
        Program.of(*of, prefix="elu")
    with pytest.raises(ConfigError, match="equal-lengths"):
        Program.of(*of, prefix="square", batch=Batch(2, padded=True))
    power = dataclasses.replace(model.config, attention="power", power=4)
    with pytest.raises(ConfigError, match="features square are for softmax"):
        Program.of(PROBABILISTIC, power, {}, MAX_CONTEXT, prefix="square")


def test_the_dealer_hears_of_the_features_and_of_nothing_else() -> None:
    program = whole("gpt2", PROBABILISTIC).program
    document = program.to_document()
    assert Program.from_document(document).prefix == "square"
    without = Program.of(PROBABILISTIC, program.config, program.ranges, MAX_CONTEXT).to_document()
    assert document == {**without, "prefix": "square"}
    with pytest.raises(PeerMismatch, match="features"):
        Program.from_document({**document, "prefix": "cubes"})
