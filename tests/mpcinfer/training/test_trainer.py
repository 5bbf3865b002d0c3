"""Steps of training, and a checkpoint that loses nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch

from mpcinfer.entropy.measure import causal_bound
from mpcinfer.entropy.penalty import EntropyPenalty, Thresholds
from mpcinfer.models.config import ModelConfig
from mpcinfer.training.batches import Batches
from mpcinfer.training.checkpoint import restore, save_checkpoint
from mpcinfer.training.losses import greedy_tokens, mean_loss, measured_entropies, token_loss
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.trainer import TrainingState
from mpcinfer.training.weights import initial_weights
from parties.errors import ConfigError

CONFIG = ModelConfig(
    layers=2, width=32, heads=2, kv_heads=2, head_width=16, hidden=64, vocabulary=16, context=12
)
RECIPE = Recipe(steps=60, batch=8, learning_rate=1e-2, warmup=5, precision="float32", seed=3)
# Every token is the one before it plus one, modulo 16: a corpus that can be learnt perfectly.
BATCHES = Batches(tokens=(np.arange(3000) % 16).astype(np.uint16), batch=8, context=12, seed=3)


def load_checkpoint(path: Path, config: ModelConfig, recipe: Recipe, digest: str) -> TrainingState:
    state = TrainingState(config, recipe)
    restore(state, path, digest)
    return state


def losses(state: TrainingState, last: int) -> list[float]:
    return [state.advance(*BATCHES.at(state.step)).loss for _ in range(state.step, last)]


def test_loss_falls_from_chance_to_nearly_nothing() -> None:
    state = TrainingState(CONFIG, RECIPE)
    curve = losses(state, RECIPE.steps)
    # Weights this small give nearly equal logits, hence ln(16) nats; a learnt rule leaves next to none.
    assert curve[0] == pytest.approx(np.log(16), abs=0.1)
    assert curve[-1] < 0.1
    held_out = mean_loss(CONFIG, state.plain_weights(), [BATCHES.at(1000)])
    assert held_out < 0.1
    assert greedy_tokens(CONFIG, state.plain_weights(), [5, 6, 7], 5) == [8, 9, 10, 11, 12]
    assert greedy_tokens(CONFIG, state.plain_weights(), [5, 6, 7], 5, frozenset({10})) == [8, 9]
    assert len(greedy_tokens(CONFIG, state.plain_weights(), [5] * 10, 50)) == CONFIG.context - 10


def test_bfloat16_products_train_too_and_keep_float32_weights() -> None:
    state = TrainingState(CONFIG, dataclasses.replace(RECIPE, precision="bfloat16"))
    curve = losses(state, RECIPE.steps)
    assert curve[-1] < 0.2 < curve[0]
    assert {weight.dtype for weight in state.weights.values()} == {torch.float32}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumed_run_repeats_the_loss_curve_exactly(tmp_path: Path, precision: str) -> None:
    recipe = dataclasses.replace(RECIPE, precision=precision, steps=20)
    unbroken = TrainingState(CONFIG, recipe)
    expected = losses(unbroken, 20)
    state = TrainingState(CONFIG, recipe)
    first = losses(state, 13)
    save_checkpoint(tmp_path / "c.pt", state, "data")
    resumed = load_checkpoint(tmp_path / "c.pt", CONFIG, recipe, "data")
    assert resumed.step == 13
    assert first + losses(resumed, 20) == expected
    for name, weight in unbroken.weights.items():
        assert torch.equal(resumed.weights[name], weight)


@pytest.fixture
def kept_threads() -> Generator[None]:
    """Puts torch's number of threads back: several workers set it."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("kept_threads")
@pytest.mark.parametrize("workers", [2, 3, 20])
def test_workers_share_a_batch_and_agree_with_one(workers: int) -> None:
    """Eight windows among 2, 3 (of unequal parts) and 20 workers (12 idle)."""
    alone = TrainingState(CONFIG, RECIPE).advance(*BATCHES.at(0))
    first, again = (
        TrainingState(CONFIG, RECIPE, workers=workers),
        TrainingState(CONFIG, RECIPE, workers=workers),
    )
    together = first.advance(*BATCHES.at(0))
    # A sum of under 2^7 float32 terms in another order: relative error below 2^7 * 2^-24.
    assert together.loss == pytest.approx(alone.loss, rel=2**-17)
    assert together.gradient_norm == pytest.approx(alone.gradient_norm, rel=2**-17)
    assert again.advance(*BATCHES.at(0)) == together


def test_seed_decides_first_weights() -> None:
    first, again, other = initial_weights(CONFIG, 1), initial_weights(CONFIG, 1), initial_weights(CONFIG, 2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embed.tokens"], other["embed.tokens"])
    assert torch.equal(first["layer0.norm1.weight"], torch.ones(32))
    assert not first["layer0.ffn.in.bias"].any()


def test_weight_decay_is_on_matrices_only() -> None:
    state = TrainingState(CONFIG, RECIPE)
    for group in state.optimizer.param_groups:
        dims = {parameter.ndim >= 2 for parameter in group["params"]}
        assert dims == {group["weight_decay"] > 0}


def test_gradient_is_clipped() -> None:
    """With the norm held down to 1e-9 AdamW's eps outweighs the gradient, and weights hardly move."""
    recipe = dataclasses.replace(RECIPE, clip=1e-9, weight_decay=0.0)
    state = TrainingState(CONFIG, recipe)
    before = initial_weights(CONFIG, recipe.seed)
    result = state.advance(*BATCHES.at(0))
    assert result.gradient_norm > 1e-3
    # |step| <= rate * |g| / (|g| + eps) with |g| <= 1e-9, eps = 1e-8; float32 rounding of weights near 1.
    bound = result.rate * (1e-9 / 1e-8) + 1e-7
    for name, weight in state.plain_weights().items():
        assert float((weight - before[name]).abs().max()) <= bound


def test_divergence_is_named() -> None:
    state = TrainingState(CONFIG, RECIPE)
    with torch.no_grad():
        state.weights["embed.tokens"].fill_(float("nan"))
    with pytest.raises(ConfigError, match="diverged at step 0"):
        state.advance(*BATCHES.at(0))


def test_loss_is_the_mean_negative_log_probability() -> None:
    weights = {name: torch.zeros_like(weight) for name, weight in initial_weights(CONFIG, 0).items()}
    loss = token_loss(CONFIG, weights, *BATCHES.at(0), "float32")
    assert loss.item() == pytest.approx(np.log(16), rel=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", 0), ("batch", 0), ("learning_rate", 0.0), ("clip", -1.0), ("warmup", -1), ("decay", 1.5)],
)
def test_recipe_refuses_nonsense(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field):
        dataclasses.replace(RECIPE, **{field: value})


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    state = TrainingState(CONFIG, RECIPE)
    losses(state, 2)
    save_checkpoint(path, state, "data")
    with pytest.raises(ConfigError, match="data differs"):
        load_checkpoint(path, CONFIG, RECIPE, "other")
    with pytest.raises(ConfigError, match="recipe differs"):
        load_checkpoint(path, CONFIG, dataclasses.replace(RECIPE, seed=4), "data")
    with pytest.raises(ConfigError, match="model shape differs"):
        load_checkpoint(path, dataclasses.replace(CONFIG, layers=1), RECIPE, "data")


def test_length_may_change_until_the_decay_begins(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    state = TrainingState(CONFIG, dataclasses.replace(RECIPE, steps=10))
    losses(state, 6)
    save_checkpoint(path, state, "data")
    assert load_checkpoint(path, CONFIG, dataclasses.replace(RECIPE, steps=30), "data").step == 6
    shorter = dataclasses.replace(RECIPE, steps=8, decay=0.25)
    assert load_checkpoint(path, CONFIG, shorter, "data").step == 6
    with pytest.raises(ConfigError, match="past the start of the decay"):
        load_checkpoint(path, CONFIG, dataclasses.replace(shorter, decay=0.5), "data")
    losses(state, 7)
    save_checkpoint(path, state, "data")
    with pytest.raises(ConfigError, match="past the start of the decay"):
        load_checkpoint(path, CONFIG, dataclasses.replace(RECIPE, steps=30), "data")


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint"])
def test_broken_checkpoint(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "c.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="checkpoint"):
        load_checkpoint(path, CONFIG, RECIPE, "data")


def test_foreign_torch_file_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(2)}, tmp_path / "c.pt")
    with pytest.raises(ConfigError, match="not a checkpoint of this trainer"):
        load_checkpoint(tmp_path / "c.pt", CONFIG, RECIPE, "data")


@pytest.mark.usefixtures("kept_threads")
def test_micro_batches_and_workers_take_the_same_sums() -> None:
    """Two halves one after another, or side by side: the same bits."""
    torch.set_num_threads(1)
    accumulated = TrainingState(CONFIG, dataclasses.replace(RECIPE, accumulate=2))
    side_by_side = TrainingState(CONFIG, RECIPE, workers=2)
    assert losses(accumulated, 5) == losses(side_by_side, 5)


def test_penalties_do_not_depend_on_how_a_batch_is_cut() -> None:
    """The sum over the windows of a step, whether computed in one part or in eight."""
    config = dataclasses.replace(CONFIG, attention="power")
    penalties = {"penalty": EntropyPenalty(strength=0.1), "ranges": RangePenalty(scores=0.0)}
    one = TrainingState(config, RECIPE, **penalties).advance(*BATCHES.at(0))
    eight = TrainingState(config, dataclasses.replace(RECIPE, accumulate=8), **penalties)
    cut = eight.advance(*BATCHES.at(0))
    assert one.penalties.keys() == {"entropy_penalty", "range_penalty"}
    for name, value in one.penalties.items():
        # Sums of under 2^10 float32 terms in another order.
        assert value > 0
        assert cut.penalties[name] == pytest.approx(value, rel=2**-14)
    assert cut.gradient_norm == pytest.approx(one.gradient_norm, rel=2**-14)


@pytest.mark.parametrize("thresholds", ["fixed", "detached", "learned"])
def test_thresholds_move_as_configured_and_resume_exactly(tmp_path: Path, thresholds: Thresholds) -> None:
    penalty = EntropyPenalty(strength=0.1, thresholds=thresholds, tolerance=0.0)
    unbroken = TrainingState(CONFIG, RECIPE, penalty=penalty)
    first = losses(unbroken, 4)
    assert unbroken.thresholds is not None
    assert bool((unbroken.thresholds != 0.5).all()) == (thresholds != "fixed")
    save_checkpoint(tmp_path / "c.pt", unbroken, "data")
    expected = losses(unbroken, 8)
    resumed = TrainingState(CONFIG, RECIPE, penalty=penalty)
    restore(resumed, tmp_path / "c.pt", "data")
    assert losses(resumed, 8) == expected
    assert resumed.thresholds is not None
    assert torch.equal(resumed.thresholds, unbroken.thresholds)
    assert len(first) == 4
    with pytest.raises(ConfigError, match="penalty differs"):
        restore(TrainingState(CONFIG, RECIPE), tmp_path / "c.pt", "data")


def test_a_strong_penalty_moves_entropies_to_their_threshold() -> None:
    """Heads begin nearly uniform; half the causal bound is asked for, and reached within the tolerance."""
    penalty = EntropyPenalty(
        strength=10.0, reduction="mean", normalise="causal_mean", thresholds="fixed", tolerance=0.1
    )
    state = TrainingState(CONFIG, dataclasses.replace(RECIPE, steps=120), penalty=penalty)
    before = measured_entropies(CONFIG, state.plain_weights(), [BATCHES.at(1000)])
    losses(state, 120)
    after = measured_entropies(CONFIG, state.plain_weights(), [BATCHES.at(1000)])
    bound = causal_bound(CONFIG.context)
    assert float(before.entropy.min()) > 0.95 * bound
    assert float(after.entropy.max()) < 0.8 * bound


def test_recorded_divergence_keeps_the_weights() -> None:
    state = TrainingState(CONFIG, dataclasses.replace(RECIPE, on_divergence="record"))
    with torch.no_grad():
        state.weights["layer0.attn.qkv.weight"].fill_(1e30)
    before = state.plain_weights()["embed.tokens"].clone()
    result = state.advance(*BATCHES.at(0))
    assert result.diverged
    assert not np.isfinite(result.loss)
    assert state.step == 0
    assert torch.equal(state.plain_weights()["embed.tokens"], before)


def test_a_checkpoint_of_an_older_format_is_refused(tmp_path: Path) -> None:
    state = TrainingState(CONFIG, RECIPE)
    save_checkpoint(tmp_path / "c.pt", state, "data")
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    torch.save({**content, "format": 1}, tmp_path / "c.pt")
    with pytest.raises(ConfigError, match="format 1, expected 2"):
        restore(state, tmp_path / "c.pt", "data")
