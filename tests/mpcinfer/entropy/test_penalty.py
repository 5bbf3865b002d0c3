"""The entropy penalty: its forms, its margin, and where its gradients go."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mpcinfer.entropy.measure import causal_bound, row_entropies
from mpcinfer.entropy.penalty import EntropyPenalty
from mpcinfer.models.config import ModelConfig
from mpcinfer.training.losses import Objective
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.weights import initial_weights
from parties.errors import ConfigError

LAYERS, HEADS, WINDOWS, TOKENS = 2, 3, 4, 10
CONFIG = ModelConfig(
    layers=LAYERS,
    width=12,
    heads=HEADS,
    kv_heads=HEADS,
    head_width=4,
    hidden=12,
    vocabulary=20,
    context=TOKENS,
    block_norms=False,
    ffn="fused",
    scaled_ffn=True,
    temperature="head",
    out_bias=False,
    ffn_bias=False,
)


def attention(seed: int = 0) -> list[torch.Tensor]:
    """Softmax attention of random scores, a layer each."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(LAYERS, WINDOWS, HEADS, TOKENS, TOKENS, generator=generator, dtype=torch.float64) * 2
    hidden = ~torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    return list(scores.masked_fill(hidden, -math.inf).softmax(-1))


def value(penalty: EntropyPenalty, weights: list[torch.Tensor]) -> float:
    thresholds = penalty.first_thresholds(LAYERS, HEADS).double()
    return penalty.term(weights, thresholds, WINDOWS).value.item()


@pytest.mark.parametrize("gate", ["hard", "hinge"])
@pytest.mark.parametrize(
    ("normalise", "rows"), [("log_length", TOKENS), ("causal_mean", TOKENS), ("causal_row", TOKENS - 1)]
)
def test_sum_is_the_mean_over_all_rows_times_their_number(gate: str, normalise: str, rows: int) -> None:
    penalty = EntropyPenalty(strength=0.5, normalise=normalise, gate=gate, tolerance=0.05)
    total = value(penalty, attention())
    mean = value(dataclasses.replace(penalty, reduction="mean"), attention())
    assert mean > 0
    assert total == pytest.approx(mean * WINDOWS * rows, rel=1e-12)  # float64


def test_published_form_written_out() -> None:
    """Squares of deviations beyond the tolerance, summed over windows and rows, over heads, over layers."""
    weights, penalty = attention(), EntropyPenalty(strength=1.0, threshold=0.4, tolerance=0.1)
    expected = 0.0
    for layer in weights:
        layer_loss = 0.0
        for head in range(HEADS):
            rows = -(layer[:, head] * torch.log(layer[:, head] + 1e-9)).sum(-1)
            deviation = rows - 0.4 * math.log(TOKENS)
            kept = deviation[deviation.abs() > 0.1 * math.log(TOKENS)]
            layer_loss += float(kept.square().sum())
        expected += layer_loss / HEADS
    # Thresholds are float32 in `first_thresholds`: 0.4 is rounded by up to 2^-26.
    assert value(penalty, weights) == pytest.approx(expected / LAYERS, rel=1e-6)


def test_windows_of_the_whole_batch_make_parts_add_up() -> None:
    penalty = EntropyPenalty(strength=1.0, tolerance=0.05)
    thresholds = penalty.first_thresholds(LAYERS, HEADS).double()
    weights = attention()
    parts = [
        penalty.term([layer[start : start + size] for layer in weights], thresholds, WINDOWS).value * size / 4
        for start, size in ((0, 1), (1, 3))
    ]
    assert float(sum(parts)) == pytest.approx(value(penalty, weights), rel=1e-12)


@pytest.mark.parametrize("gate", ["hard", "hinge"])
@pytest.mark.parametrize("reduction", ["sum", "mean", "per_head"])
def test_inside_the_margin_there_is_exactly_nothing(gate: str, reduction: str) -> None:
    """Rows of a uniform head are at their causal bounds: fractions of 1, up to 1e-9 in the logarithm."""
    uniform = (torch.ones(TOKENS, TOKENS).tril() / torch.arange(1, TOKENS + 1)[:, None]).expand(
        1, HEADS, -1, -1
    )
    weights = [uniform.clone().requires_grad_() for _ in range(LAYERS)]
    penalty = EntropyPenalty(
        strength=1.0, gate=gate, reduction=reduction, normalise="causal_row", threshold=0.9, tolerance=0.2
    )
    thresholds = penalty.first_thresholds(LAYERS, HEADS).requires_grad_()
    term = penalty.term(weights, thresholds, 1)
    assert term.value.item() == 0
    gradients = torch.autograd.grad(term.value, [*weights, thresholds])
    assert not any(gradient.any() for gradient in gradients)
    assert torch.allclose(term.fractions, torch.ones(LAYERS, HEADS), rtol=0, atol=1e-6)
    strict = dataclasses.replace(penalty, tolerance=0.05)
    assert strict.term(weights, thresholds, 1).value.item() > 0


def test_hinge_has_no_jump_where_the_hard_gate_has() -> None:
    """Just beyond the tolerance: the square of the tolerance, or next to nothing."""
    weights = [torch.eye(TOKENS, dtype=torch.float64).expand(1, HEADS, -1, -1)] * LAYERS  # all entropies 0
    penalty = EntropyPenalty(strength=1.0, reduction="mean", threshold=0.2 + 1e-4, tolerance=0.2)
    margin = 0.2 * math.log(TOKENS)
    assert value(penalty, weights) == pytest.approx(margin**2, rel=2e-3)
    hinge = value(dataclasses.replace(penalty, gate="hinge"), weights)
    # The threshold is float32: 0.2001 is off by up to 2^-27 of the 1e-4 beyond the margin.
    assert hinge == pytest.approx((1e-4 * math.log(TOKENS)) ** 2, rel=1e-3)


def test_per_head_compares_the_mean_over_rows() -> None:
    weights = attention()
    penalty = EntropyPenalty(
        strength=1.0, reduction="per_head", normalise="causal_mean", tolerance=0.0, threshold=0.5
    )
    entropies = torch.stack([row_entropies(layer).mean(-1) for layer in weights])
    expected = (entropies - 0.5 * causal_bound(TOKENS)).square().mean()
    assert value(penalty, weights) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("thresholds", ["fixed", "detached", "learned"])
def test_gradients_reach_temperature_queries_keys_and_thresholds_as_configured(thresholds: str) -> None:
    penalty = EntropyPenalty(strength=1.0, tolerance=0.0, thresholds=thresholds)
    recipe = Recipe(steps=1, first_temperature=0.1)
    weights = {
        name: torch.nn.Parameter(weight * (30 if name.endswith("qkv.weight") else 1))
        for name, weight in initial_weights(CONFIG, 0, recipe).items()
    }
    theta = torch.nn.Parameter(penalty.first_thresholds(LAYERS, HEADS))
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(CONFIG.vocabulary, (WINDOWS, TOKENS + 1), generator=generator)
    objective = Objective(config=CONFIG, precision="float32", windows=WINDOWS, penalty=penalty)
    loss = objective(weights, theta, tokens[:, :-1], tokens[:, 1:])
    alone = Objective(config=CONFIG, precision="float32", windows=WINDOWS)
    penalty_only = loss.total - alone(weights, None, tokens[:, :-1], tokens[:, 1:]).total
    names = [f"layer{layer}.attn.log_temperature" for layer in range(LAYERS)]
    names += [f"layer{layer}.attn.qkv.weight" for layer in range(LAYERS)]
    found = torch.autograd.grad(penalty_only, [*(weights[name] for name in names), theta], allow_unused=True)
    by_name = dict(zip(names, found, strict=False))
    for layer in range(LAYERS):
        temperature = by_name[f"layer{layer}.attn.log_temperature"]
        assert temperature is not None
        assert bool((temperature != 0).all())
        qkv = by_name[f"layer{layer}.attn.qkv.weight"]
        assert qkv is not None
        queries, keys, _ = qkv.split(12, dim=1)
        assert bool(queries.any())
        assert bool(keys.any())
    assert (found[-1] is not None and bool((found[-1] != 0).all())) == (thresholds == "learned")


def test_detached_thresholds_follow_slowly() -> None:
    penalty = EntropyPenalty(thresholds="detached", momentum=0.75)
    moved = penalty.followed(torch.tensor([[0.4]]), torch.tensor([[0.8]]))
    assert moved.tolist() == [[pytest.approx(0.5)]]


def test_a_nan_is_not_hidden() -> None:
    weights = attention()
    weights[1][0, 0, 4, 2] = math.nan
    for gate in ("hard", "hinge"):
        assert math.isnan(value(EntropyPenalty(gate=gate), weights))


def test_mixed_precision_computes_the_penalty_in_float32() -> None:
    weights = [layer.float() for layer in attention()]
    penalty = EntropyPenalty(strength=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        term = penalty.term(weights, penalty.first_thresholds(LAYERS, HEADS), WINDOWS)
    assert term.value.dtype == torch.float32
    assert torch.equal(
        term.value, penalty.term(weights, penalty.first_thresholds(LAYERS, HEADS), WINDOWS).value
    )


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("strength", -1.0), ("tolerance", math.inf), ("momentum", 1.0)],
)
def test_nonsense_is_refused(field: str, wrong: float) -> None:
    with pytest.raises(ConfigError, match=field):
        dataclasses.replace(EntropyPenalty(), **{field: wrong})
