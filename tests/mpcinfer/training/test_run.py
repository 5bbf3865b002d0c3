"""A whole run in a folder: model, log, card, and going on after a stop."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folder import load_model_folder
from mpcinfer.training.observer import Evaluation, Observer
from mpcinfer.training.options import RunOptions, stored_options
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.run import Run
from mpcinfer.training.speed import measured_steps
from mpcinfer.training.trainer import StepResult
from parties.errors import ConfigError


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    """A run of six steps over eight small files."""
    for number in range(8):
        text = "".join(f"for i in range({line + number}):\n    print(i)\n" for line in range(20))
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{number}.py").write_text(text)
    return RunOptions(
        source=str(tmp_path / "data"),
        config=ModelConfig(
            layers=1, width=16, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=270, context=16
        ),
        recipe=Recipe(steps=6, batch=2, warmup=2, precision="float32"),
        evaluate_every=2,
        checkpoint_every=2,
        held_out_windows=2,
    )


class Stopped(Exception):
    """Stands for a run that dies."""


class Recorder(Observer):
    """Keeps what it is told; dies at a step where asked to."""

    def __init__(self, die_at: int | None = None) -> None:
        self.die_at = die_at
        self.losses: list[float] = []
        self.evaluations: list[Evaluation] = []
        self.started: tuple[int, int] | None = None

    def on_start(self, step: int, steps: int) -> None:
        self.started = (step, steps)

    def on_step(self, step: int, result: StepResult, tokens: int, seconds: float) -> None:
        self.losses.append(result.loss)
        if step == self.die_at:
            raise Stopped

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)


def log_lines(out: Path) -> list[dict[str, object]]:
    """The log without its seconds, which no run repeats."""
    lines = [json.loads(line) for line in (out / "training" / "log.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in ("seconds", "tokens_per_second")}
        for line in lines
    ]


def test_run_leaves_a_model_folder_and_tells_what_it_did(tmp_path: Path, options: RunOptions) -> None:
    recorder = Recorder()
    run = Run(tmp_path / "small", options, resume=False, observer=recorder)
    model = run.finish()
    assert recorder.started == (0, 6)
    assert [evaluation.step for evaluation in recorder.evaluations] == [2, 4, 6]
    loaded = load_model_folder(tmp_path / "small")
    for name, weight in model.weights.items():
        assert torch.equal(loaded.weights[name], weight.half().float())
    assert loaded.ranges == pytest.approx(dict(model.ranges), rel=1e-4)  # five digits are written
    assert loaded.ranges["layer0/add"] > 0
    card = (tmp_path / "small" / "README.md").read_text()
    assert run.corpus.counts.digest in card
    assert "7 |" in card  # files to train on: eight, less the one held out
    assert f"{run.held_out_loss:.3f}" in card
    assert "finished" in card
    assert str(tmp_path) not in card


def test_resumed_run_equals_the_unbroken_one(tmp_path: Path, options: RunOptions) -> None:
    Run(tmp_path / "whole", options, resume=False, observer=Recorder()).finish()
    with pytest.raises(Stopped):
        Run(tmp_path / "broken", options, resume=False, observer=Recorder(die_at=5)).finish()
    for file in (tmp_path / "data").iterdir():
        file.unlink()  # the run keeps its own token streams
    recorder = Recorder()
    again = Run(tmp_path / "broken", stored_options(tmp_path / "broken"), resume=True, observer=recorder)
    again.finish()
    assert recorder.started == (4, 6)
    assert log_lines(tmp_path / "broken") == log_lines(tmp_path / "whole")
    whole, broken = load_model_folder(tmp_path / "whole"), load_model_folder(tmp_path / "broken")
    for name, weight in whole.weights.items():
        assert torch.equal(broken.weights[name], weight)
    cards = [(tmp_path / name / "README.md").read_text() for name in ("whole", "broken")]
    assert cards[0].replace("# whole", "# broken") == cards[1]


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path, options: RunOptions) -> None:
    Run(tmp_path / "small", options, resume=False, observer=Observer()).finish()
    with pytest.raises(ConfigError, match="holds a training run already"):
        Run(tmp_path / "small", options, resume=False, observer=Observer())


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to resume"):
        stored_options(tmp_path)


def test_options_survive_json(options: RunOptions) -> None:
    assert RunOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    with pytest.raises(ConfigError, match="incomplete"):
        RunOptions.from_json({"config": options.to_json()["config"]})


def test_broken_stored_corpus_is_named(tmp_path: Path, options: RunOptions) -> None:
    Run(tmp_path / "small", options, resume=False, observer=Observer()).finish()
    (tmp_path / "small" / "training" / "train.npy").write_bytes(b"")
    with pytest.raises(ConfigError, match="stored data"):
        Run(tmp_path / "small", options, resume=True, observer=Observer())


def test_measured_steps_fill_the_time_and_say_so(options: RunOptions) -> None:
    said: list[str] = []
    steps = measured_steps(options, 1e-9, trial=3, say=said.append)
    assert steps == 1
    assert "1 steps" in said[0]
    assert measured_steps(dataclasses.replace(options), 1e6, trial=3, say=said.append) > 1000
