"""A whole run in a folder: model, log, card, and going on after a stop."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch

from mpcinfer.entropy.measure import HeadEntropies, causal_bound
from mpcinfer.entropy.penalty import EntropyPenalty
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folder import load_model_folder
from mpcinfer.training.corpus import prepare_corpus
from mpcinfer.training.log import RunLog, read_log
from mpcinfer.training.observer import Evaluation, Observer
from mpcinfer.training.options import RunOptions, stored_options
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.run import Run
from mpcinfer.training.speed import measured_steps
from mpcinfer.training.train import train
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


def test_divergence_is_refused_or_recorded(tmp_path: Path, options: RunOptions) -> None:
    """A rate that throws the weights out of float32 within a few steps."""
    recipe = dataclasses.replace(options.recipe, learning_rate=1e30, warmup=0, steps=6)
    refused = dataclasses.replace(options, recipe=recipe)
    with pytest.raises(ConfigError, match="diverged at step"):
        Run(tmp_path / "refused", refused, resume=False, observer=Observer()).finish()
    recorded = dataclasses.replace(options, recipe=dataclasses.replace(recipe, on_divergence="record"))
    recorder = Recorder()
    run = Run(tmp_path / "recorded", recorded, resume=False, observer=recorder)
    run.finish()
    lines = read_log(tmp_path / "recorded" / "training")
    last = next(line for line in lines if line.get("diverged"))
    assert last["step"] == run.diverged_at == run.state.step + 1
    assert not math.isfinite(last["loss"]) or not math.isfinite(last["gradient_norm"])
    assert any("entropies" in line and line["step"] == run.diverged_at for line in lines)
    assert len(recorder.losses) == run.state.step
    card = (tmp_path / "recorded" / "README.md").read_text()
    assert f"diverged at step {run.diverged_at}" in card
    loaded = load_model_folder(tmp_path / "recorded")  # in float32, where float16 cannot hold it
    for name, weight in run.state.plain_weights().items():
        assert torch.allclose(loaded.weights[name], weight, rtol=2**-11, atol=2**-24)


def test_log_has_speeds_penalties_and_entropies(tmp_path: Path, options: RunOptions) -> None:
    penalised = dataclasses.replace(
        options, penalty=EntropyPenalty(), ranges=RangePenalty(scores=1.0), entropy_every=3
    )
    Run(tmp_path / "small", penalised, resume=False, observer=Observer()).finish()
    lines = read_log(tmp_path / "small" / "training")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    for line in steps:
        assert line["entropy_penalty"] > 0
        assert line["range_penalty"] == 0
        assert line["tokens_per_second"] > 0
    looks = [line for line in lines if "entropies" in line]
    assert [line["step"] for line in looks] == [0, 3, 6]
    assert looks[0]["entropies"][0][0] == pytest.approx(causal_bound(16), rel=1e-3)  # small weights: uniform
    assert looks[0]["overloaded"] == 1
    evaluation = next(line for line in lines if "held_out_loss" in line)
    assert evaluation["held_out_perplexity"] == pytest.approx(math.exp(evaluation["held_out_loss"]))


def test_numbers_that_are_not_finite_survive_the_log(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0)
    log.step(1, StepResult(math.nan, math.inf, 0.5, {}, diverged=True), 10, 0.5)
    log.entropies(1, HeadEntropies(torch.tensor([[math.nan, 1.0]]), torch.tensor([[1.0, 0.0]]), 4))
    step, look = read_log(tmp_path)
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])["loss"] == "nan"
    assert math.isnan(step["loss"])
    assert step["gradient_norm"] == math.inf
    assert step["diverged"]
    assert math.isnan(look["entropies"][0][0])
    assert look["entropies"][0][1] == 1.0
    assert look["nan_heads"] == 0.5
    (tmp_path / "log.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="with a step"):
        read_log(tmp_path)


def test_training_as_a_call_shares_data_and_goes_on(tmp_path: Path, options: RunOptions) -> None:
    prepare_corpus(tmp_path / "corpus", options.source, 270, stored=False, say=lambda text: None)
    out = tmp_path / "one"
    whole = train(options.config, options.recipe, tmp_path / "corpus", out, every=2)
    assert len(whole.losses) == 6
    assert whole.perplexity == pytest.approx(math.exp(whole.held_out_loss))
    assert whole.diverged_at is None
    assert tuple(whole.entropies.entropy.shape) == (1, 2)
    assert not (out / "training" / "train.npy").exists()  # read where it is
    again = train(options.config, options.recipe, tmp_path / "corpus", out, every=2, resume=True)
    assert again.losses == whole.losses
    assert again.held_out_loss == whole.held_out_loss
    other = train(options.config, options.recipe, str(out.parent / "corpus"), tmp_path / "two", resume=True)
    assert other.losses == whole.losses
    narrow = dataclasses.replace(options.config, vocabulary=260)
    with pytest.raises(ConfigError, match="a vocabulary of 260"):
        train(narrow, options.recipe, tmp_path / "corpus", tmp_path / "three")


@pytest.mark.parametrize("form", ["model", "checkpoint"])
def test_a_run_begins_from_another(tmp_path: Path, options: RunOptions, form: str) -> None:
    first = Run(tmp_path / "first", options, resume=False, observer=Observer())
    first.finish()
    source = tmp_path / "first" / ("training/checkpoint.pt" if form == "checkpoint" else "")
    norm_free = dataclasses.replace(options.config, block_norms=False, activation="relu")
    told: list[str] = []
    recorder = Recorder()
    recorder.on_message = told.append  # type: ignore[method-assign]
    run = Run(
        tmp_path / "second",
        dataclasses.replace(options, config=norm_free, start_from=str(source)),
        resume=False,
        observer=recorder,
    )
    assert any("norm1.weight" in text and "left behind" in text for text in told)
    assert run.tokenizer.backend.to_str() == first.tokenizer.backend.to_str()
    for name, weight in run.state.plain_weights().items():
        trained = first.state.plain_weights()[name]
        assert torch.equal(weight, trained if form == "checkpoint" else trained.half().float())
    assert "first weights are those of `" in run.card()
    assert str(tmp_path) not in run.card()


def test_tokens_of_another_tokenizer_are_refused(tmp_path: Path, options: RunOptions) -> None:
    Run(tmp_path / "first", options, resume=False, observer=Observer()).finish()
    (tmp_path / "data" / "0.py").write_text("while True:\n    pass\n" * 30)
    prepare_corpus(tmp_path / "corpus", options.source, 270, stored=False, say=lambda text: None)
    mixed = dataclasses.replace(options, source=str(tmp_path / "corpus"), start_from=str(tmp_path / "first"))
    with pytest.raises(ConfigError, match="another tokenizer"):
        Run(tmp_path / "second", mixed, resume=False, observer=Observer())
