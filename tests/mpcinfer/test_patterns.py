"""Key patterns as part of a shape, in the clear, and under suites on additive shares."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.counting import count
from mpcinfer.generation import Session
from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.fold import fold
from mpcinfer.models.model import Model
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError
from protocols.key_pattern import KeyPattern
from tests.mpcinfer.patterned import ALL, NOTHING, WINDOW, patterned
from tests.mpcinfer.test_private_models import GPT2, LLAMA, POWER, RELU, _costs
from tests.mpcinfer.three_parties import random_model, run_model

PROMPT = list(b"def f(x, y)")
MODELS = {
    "softmax": patterned(GPT2),
    "dropped": patterned(LLAMA, dropped=True),
    "power4": patterned(POWER, dropped=True),
    "relu": patterned(dataclasses.replace(RELU, attention="relu")),
    "gaussian": patterned(dataclasses.replace(RELU, attention="gaussian")),
}
models = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)


# -- the shape -----------------------------------------------------------------------------------------------


def test_a_shape_with_patterns_is_read_back_and_has_another_digest() -> None:
    config = MODELS["dropped"]
    document = json.loads(json.dumps(config.to_json()))
    assert document == config.to_json()
    assert ModelConfig.from_json(document) == config
    assert config.digest() != LLAMA.digest()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patterns": ((ALL, ALL),)}, "1 layers, the model has 2"),
        ({"patterns": ((ALL,), ())}, "layer 0 are of 1 heads, the model has 2"),
        ({"patterns": ((), (NOTHING, NOTHING))}, "drop every head of layer 1"),
        ({"patterns": ((WINDOW, ALL), ()), "windows": (3, 3)}, "without windows"),
        ({"patterns": ((NOTHING, ALL), ()), "temperature": "position"}, "temperature is by position"),
        (
            {"patterns": ((WINDOW, ALL), ()), "causal": False, "head": "classes", "classes": 2}
            | {"pooling": "first", "tied_head": False},
            "causal",
        ),
    ],
)
def test_patterns_that_are_not_for_the_model_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(GPT2, **fields)


@pytest.mark.parametrize(
    "wrong",
    [
        [[{"alpha": 1.0}], []],
        [[1.0], []],
        [[{**dataclasses.asdict(ALL), "exponent": "1"}] * 2, []],
        [[{**dataclasses.asdict(ALL), "alpha": 0.0}] * 2, []],
        [{}, []],
    ],
)
def test_what_is_no_list_of_patterns_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        ModelConfig.from_json({**GPT2.to_json(), "patterns": wrong})


def test_padded_batches_are_refused() -> None:
    with pytest.raises(ConfigError, match="--equal-lengths"):
        count(MODELS["softmax"], get_plan("fss"), tokens=5, batch=Batch(2, padded=True))


# -- in the clear --------------------------------------------------------------------------------------------


def float_logits(model: Model, cuts: tuple[int, ...] = ()) -> torch.Tensor:
    weights = {name: value.double() for name, value in model.weights.items()}
    backend, cache = PlainBackend(), KVCache[torch.Tensor]()
    decoder = Decoder(backend, model.config, weights)
    ends = [*cuts, len(PROMPT)]
    parts = [PROMPT[first:last] for first, last in zip([0, *cuts], ends, strict=True)]
    return torch.cat([decoder.forward(backend.tokens(p, len(p)), len(p), cache=cache) for p in parts], -2)


@models
def test_a_cache_changes_nothing(config: ModelConfig) -> None:
    model = random_model(config)
    assert torch.allclose(float_logits(model), float_logits(model, (4, 5, 9)), rtol=0, atol=1e-10)


@models
def test_keys_that_are_not_seen_do_not_matter(config: ModelConfig) -> None:
    """A change of a hidden key leaves a one-layer model's last row as it is; of seen ones it does not."""
    pattern = KeyPattern(1.0, 0.5, 1)
    one = dataclasses.replace(config, layers=1, patterns=((pattern,) * config.heads,))
    model, seen = random_model(one), pattern.keys(len(PROMPT) - 1)
    usual = float_logits(model)[0, -1]
    changes = list[int]()
    for position in range(len(PROMPT) - 1):
        kept, PROMPT[position] = PROMPT[position], 7
        changed = float_logits(model)[0, -1]
        PROMPT[position] = kept
        changes += [] if torch.equal(changed, usual) else [position]
    assert len(changes) > 0
    assert set(changes) <= set(seen)


@models
def test_fixed_point_is_near_float(config: ModelConfig) -> None:
    model = random_model(config)
    folded, weights = fold(model.config, model.weights)
    backend = FixedBackend()
    got = Session(Decoder(backend, folded, backend.load(weights))).step(PROMPT)
    right = float_logits(model)[0, -1]
    # Rounding of 2^-16 at every step, in two layers that hardly amplify: far below a hundredth of a logit.
    assert float((got - right).abs().max()) < 0.01 * float(right.std())


def test_a_dropped_head_gives_zero() -> None:
    config = MODELS["dropped"]
    model = random_model(config)
    rows = slice(0, config.head_width)
    weights = {**model.weights}
    changed = weights["layer0.attn.out.weight"].clone()
    changed[rows] = 100.0
    other = dataclasses.replace(model, weights={**weights, "layer0.attn.out.weight": changed})
    assert torch.equal(float_logits(model), float_logits(other))


# -- on shares -----------------------------------------------------------------------------------------------


def run_steps(steps: StepClient) -> list[torch.Tensor]:
    return [steps.step(PROMPT), steps.step([65])]


@pytest.mark.parametrize("plan", ["crypten", "crypten-stock", "two-party"])
@pytest.mark.parametrize("name", ["softmax", "power4", "relu"])
def test_a_private_run_is_near_the_clear_one_and_billed_as_counted(name: str, plan: str) -> None:
    config = MODELS[name]
    model = random_model(config)
    logits, bill, server = run_model(model, get_plan(plan), run_steps)
    folded, weights = fold(model.config, model.weights)
    backend = FixedBackend()
    session = Session(Decoder(backend, folded, backend.load(weights)))
    for got, right in zip(logits, [session.step(PROMPT), session.step([65])], strict=True):
        # As in test_private_models: stated errors of single protocols pass through two layers.
        assert float((got - right).abs().max()) < 0.1 * float(right.std())
    counted = count(config, get_plan(plan), tokens=len(PROMPT), new_tokens=2, ranges=model.ranges)
    assert _costs(bill) == _costs(server) == _costs(counted)


def test_two_parties_drop_whole_groups_of_heads_alike() -> None:
    """Heads of queries that share keys are multiplied together: as many must be left for each."""
    with pytest.raises(ConfigError, match="as many heads"):
        count(MODELS["dropped"], get_plan("two-party"), tokens=5)
    of_each = dataclasses.replace(LLAMA, patterns=((NOTHING, WINDOW, NOTHING, ALL),) * 2)
    model = random_model(of_each)
    logits, bill, _ = run_model(model, get_plan("two-party"), run_steps)
    assert len(logits) == 2
    assert _costs(bill) == _costs(
        count(of_each, get_plan("two-party"), tokens=len(PROMPT), new_tokens=2, ranges=model.ranges)
    )


@pytest.mark.parametrize("plan", ["crypten", "two-party"])
def test_what_is_not_seen_is_not_computed(plan: str) -> None:
    few, every = (
        count(config, get_plan(plan), tokens=20).total
        for config in (MODELS["softmax"], dataclasses.replace(MODELS["softmax"], patterns=()))
    )
    assert few.online_bytes_to_server < every.online_bytes_to_server
