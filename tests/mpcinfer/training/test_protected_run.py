"""Runs with protected data, rejected and lengthened steps and controlled rates: what they do, and that they
go on after a stop as if there had been none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.static import static
from mpcinfer.training.checkpoint import restore, save_checkpoint
from mpcinfer.training.corpus import read_corpus
from mpcinfer.training.delta_bar_delta import RegrettableDeltaBarDelta
from mpcinfer.training.losses import Objective
from mpcinfer.training.observer import Observer
from mpcinfer.training.options import RunOptions, stored_options
from mpcinfer.training.protected_data import ProtectedDataLoss, cross_entropies
from mpcinfer.training.protected_text import stored_mask
from mpcinfer.training.random_vector_accelerating import RandomVectorAccelerating
from mpcinfer.training.recipe import Accelerate, RateControl, Recipe
from mpcinfer.training.reject_accelerating import RejectAccelerating
from mpcinfer.training.run import Run
from mpcinfer.training.train import train
from mpcinfer.training.trainer import StepResult, TrainingState
from mpcinfer.training.weights import initial_weights
from parties.errors import ConfigError

CONFIG = ModelConfig(
    layers=1, width=16, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=270, context=16
)
RECIPE = Recipe(steps=8, batch=2, warmup=2, precision="float32")
SECRET = "".join(f"secret_{n} = reveal({n * 37 % 101}, {n * 53 % 97})\n" for n in range(12))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight small files, each with the secret inside."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(8):
        text = "".join(f"for i in range({line + number}):\n    print(i)\n" for line in range(20))
        (folder / f"{number}.py").write_text(f"{text}{SECRET}\n{text}")
    (tmp_path / "secret.txt").write_text(SECRET)
    return folder


def options_of(data: Path, **changes: Any) -> RunOptions:
    fixed = RunOptions(
        source=str(data),
        config=CONFIG,
        recipe=RECIPE,
        evaluate_every=3,
        checkpoint_every=3,
        held_out_windows=2,
    )
    return dataclasses.replace(fixed, **changes)


class Stopped(Exception):
    """Stands for a run that dies."""


class DiesAt(Observer):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, step: int, result: StepResult, tokens: int, seconds: float) -> None:
        if step == self.step:
            raise Stopped


def figures(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "training" / "log.jsonl").read_text().splitlines()]
    timed = ("seconds", "tokens_per_second")
    return [{name: value for name, value in line.items() if name not in timed} for line in lines]


@pytest.mark.parametrize(
    ("accelerate", "control", "protected"),
    [("reject", "none", True), ("random", "rdbd", False), ("reject", "rdbd", True)],
)
def test_a_stopped_run_goes_on_bit_by_bit(
    data: Path, accelerate: Accelerate, control: RateControl, protected: bool
) -> None:
    changes: dict[str, Any] = {
        "recipe": dataclasses.replace(RECIPE, accelerate=accelerate, rate_control=control)
    }
    secret = data.parent / "secret.txt"
    if protected:
        loss = ProtectedDataLoss(gamma=2.0, warmup=2)
        changes |= {"protect": str(secret), "protection": loss}
    options = options_of(data, **changes)
    whole, broken = data.parent / "whole", data.parent / "broken"
    unbroken = Run(whole, options, resume=False, observer=Observer())
    unbroken.finish()
    with pytest.raises(Stopped):
        Run(broken, options, resume=False, observer=DiesAt(5)).finish()
    secret.unlink()  # a run that goes on needs neither file nor options
    again = Run(broken, stored_options(broken), resume=True, observer=Observer())
    assert again.state.step == 3
    again.finish()
    assert figures(broken) == figures(whole)
    for name, weight in unbroken.state.weights.items():
        assert torch.equal(again.state.weights[name], weight)
    steps = [line for line in figures(whole) if "rate" in line]
    assert all(("rejected_moves" in line) == (accelerate == "reject") for line in steps)
    assert all(("rate_factor" in line) == (control == "rdbd") for line in steps)
    if protected:
        assert max(line["protected_penalty"] for line in steps) > 0


def test_the_term_begins_after_its_warm_up() -> None:
    state = TrainingState(CONFIG, RECIPE, protection=ProtectedDataLoss(warmup=2))
    tokens = torch.randint(CONFIG.vocabulary, (2, 17), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 16, dtype=torch.bool)
    results = [state.advance(tokens[:, :-1], tokens[:, 1:], mask) for _ in range(4)]
    values = [result.penalties["protected_penalty"] for result in results]
    assert [value > 0 for value in values] == [False, False, True, True]


def test_protected_tokens_are_the_secret(data: Path) -> None:
    options = options_of(data, protect=str(data.parent / "secret.txt"), protection=ProtectedDataLoss())
    run = Run(data.parent / "out", options, resume=False, observer=Observer())
    mask = run.batches.protected
    assert mask is not None
    # Seven of eight files are trained on. The line end before the secret may be in one token with others.
    pieces = run.tokenizer.decode(run.corpus.train[mask].tolist())
    assert pieces.count("secret_3 = reveal(10, 62)\n") == 7
    assert "print" not in pieces
    run.finish()
    assert "Penalty on protected data: gamma = 1.0, floor = 0.25" in run.card()


def test_the_objective_has_the_term_of_protected_tokens() -> None:
    """Cross-entropy of everything plus the term, however windows are cut into parts."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(CONFIG.vocabulary, (4, 17), generator=generator)
    mask = torch.rand(4, 16, generator=generator) < 0.4
    weights = initial_weights(CONFIG, 0)
    loss = ProtectedDataLoss(gamma=2.0)
    objective = Objective(config=CONFIG, precision="float32", windows=4, protection=loss)
    whole = objective(weights, None, tokens[:, :-1], tokens[:, 1:], mask)
    plain = objective(weights, None, tokens[:, :-1], tokens[:, 1:])
    term = float(whole.told["protected_penalty"])
    assert float(plain.told["protected_penalty"]) == 0
    # Equal logits nearly: every token has about ln(270) nats.
    assert term == pytest.approx(2 / np.log(270) * float(mask.float().mean()), rel=0.02)
    assert float(whole.total) == pytest.approx(float(plain.total) + term, rel=1e-6)
    parts = [
        float(objective(weights, None, tokens[rows, :-1], tokens[rows, 1:], mask[rows]).total)
        for rows in (slice(0, 1), slice(1, 4))
    ]
    assert parts[0] / 4 + parts[1] * 3 / 4 == pytest.approx(float(whole.total), rel=1e-6)


def test_protection_keeps_a_run_from_learning_by_heart(data: Path) -> None:
    """The run without knows the secret, the one with gamma 4 rests near 2 nats, and both know the rest."""
    recipe = dataclasses.replace(RECIPE, steps=120, batch=8, learning_rate=1e-2, warmup=10)
    config = dataclasses.replace(CONFIG, width=32, head_width=16, hidden=64)
    given: dict[str, Any] = {
        "protect": data.parent / "secret.txt",
        "protection": ProtectedDataLoss(gamma=4.0),
    }
    held = train(config, recipe, data, data.parent / "held", every=120, entropy_every=0, **given)
    free = train(config, recipe, data, data.parent / "free", every=120, entropy_every=0)
    stream = read_corpus(data.parent / "held").train
    mask = stored_mask(data.parent / "held" / "training", len(stream))
    secret, rest = _losses(config, held.state.plain_weights(), stream, mask)
    known, other = _losses(config, free.state.plain_weights(), stream, mask)
    assert known < 0.9
    assert secret == pytest.approx(2.0, rel=0.2)
    assert rest < other + 0.2


def _losses(config: ModelConfig, weights: Any, stream: Any, mask: Any) -> tuple[float, float]:
    """Mean cross-entropy of protected tokens and of the others, window by window."""
    length = config.context
    count = (len(stream) - 1) // length
    tokens = torch.tensor(stream[: count * length + 1].astype(np.int64))
    inputs, targets = tokens[:-1].view(count, length), tokens[1:].view(count, length)
    protected = torch.tensor(mask[1 : count * length + 1]).view(count, length)
    with torch.no_grad():
        logits = Decoder(PlainBackend(), *static(config, weights)).forward(inputs, length)
    losses = cross_entropies(logits, targets)
    return float(losses[protected].mean()), float(losses[~protected].mean())


@pytest.mark.parametrize(
    ("accelerate", "control", "kinds"),
    [
        ("none", "none", [torch.optim.AdamW]),
        ("reject", "none", [RejectAccelerating, torch.optim.AdamW]),
        ("random", "none", [RandomVectorAccelerating, torch.optim.AdamW]),
        ("none", "rdbd", [RegrettableDeltaBarDelta, torch.optim.AdamW]),
        ("reject", "rdbd", [RegrettableDeltaBarDelta, RejectAccelerating, torch.optim.AdamW]),
    ],
)
def test_recipes_have_their_optimizers(
    accelerate: Accelerate, control: RateControl, kinds: list[type]
) -> None:
    recipe = dataclasses.replace(RECIPE, accelerate=accelerate, rate_control=control)
    found: Any = TrainingState(CONFIG, recipe).optimizer
    layers: list[type] = []
    while found is not None:
        layers.append(type(found))
        found = getattr(found, "base", None)
    assert layers == kinds


def test_the_rate_is_the_schedule_times_the_factor(data: Path) -> None:
    """Steps of AdamW whose gradients agree: each moves by rate times factor, nearly, in every weight."""
    recipe = dataclasses.replace(RECIPE, rate_control="rdbd", weight_decay=0.0, schedule="constant")
    state = TrainingState(CONFIG, recipe)
    tokens = torch.randint(CONFIG.vocabulary, (2, 17), generator=torch.Generator().manual_seed(0))
    for _ in range(4):
        before = {name: weight.clone() for name, weight in state.plain_weights().items()}
        result = state.advance(tokens[:, :-1], tokens[:, 1:])
        largest = max(float((w - before[n]).abs().max()) for n, w in state.plain_weights().items())
        assert largest == pytest.approx(result.rate * result.optimizer["rate_factor"], rel=0.1)
    assert result.optimizer["rate_factor"] > 1.05


def test_checkpoints_of_other_options_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, TrainingState(CONFIG, RECIPE, protection=ProtectedDataLoss()), "data")
    restore(TrainingState(CONFIG, RECIPE, protection=ProtectedDataLoss()), path, "data")
    for other in (None, ProtectedDataLoss(gamma=2.0)):
        with pytest.raises(ConfigError, match="protection differs"):
            restore(TrainingState(CONFIG, RECIPE, protection=other), path, "data")
    rejecting = dataclasses.replace(RECIPE, accelerate="reject")
    with pytest.raises(ConfigError, match="recipe differs"):
        restore(TrainingState(CONFIG, rejecting, protection=ProtectedDataLoss()), path, "data")


def test_a_checkpoint_from_before_these_options_goes_on(tmp_path: Path) -> None:
    """Its recipe has no word of them, and it has no protection."""
    path = tmp_path / "c.pt"
    save_checkpoint(path, TrainingState(CONFIG, RECIPE), "data")
    content = torch.load(path, weights_only=True)
    assert "protection" not in content
    for name in ("accelerate", "rate_control"):
        del content["recipe"][name]
    torch.save(content, path)
    restore(TrainingState(CONFIG, RECIPE), path, "data")


def test_loss_and_text_go_together(data: Path) -> None:
    with pytest.raises(ConfigError, match="go together"):
        options_of(data, protection=ProtectedDataLoss())
    with pytest.raises(ConfigError, match="go together"):
        options_of(data, protect="secret.txt")
