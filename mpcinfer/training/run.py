"""A whole training run: data to tokens, steps, evaluations, checkpoints, model folder.

A run lives in the model's folder. Beside the model (exported at every checkpoint, usable at any time):

    training/run.json          shape, recipe and data of the run
    training/train.npy         token streams of both sides of the split: a resumed run reads these, so that
    training/held_out.npy        files that changed on the machine meanwhile do not change the run
    training/data.json         counts and digest of the split
    training/checkpoint.pt     where the run stands
    training/log.jsonl         a line a step, and a line an evaluation
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folder import replace_file, save_model
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.tokenizer import Tokenizer
from mpcinfer.training.batches import Batches, consecutive_batches
from mpcinfer.training.card import TrainingRecord, model_card
from mpcinfer.training.checkpoint import load_checkpoint, save_checkpoint
from mpcinfer.training.corpus import Corpus, prepare_corpus
from mpcinfer.training.trainer import Recipe, StepResult, TrainingState, greedy_tokens, mean_loss
from parties.errors import ConfigError

FOLDER = "training"
RECENT_STEPS = 200
CALIBRATION_WINDOWS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """A run as the user asked for it.

    Attributes:
        source: `python`, or the path of a file or folder of text.
        config: the shape; its vocabulary is that of the tokenizer to train.
        recipe: how to train.
        evaluate_every: steps between held-out losses and samples.
        checkpoint_every: steps between checkpoints and exports.
        held_out_windows: windows of the held-out stream that an evaluation reads; the last reads all.
        sample_prompt: what the sample of an evaluation continues.
    """

    source: str
    config: ModelConfig
    recipe: Recipe
    evaluate_every: int = 500
    checkpoint_every: int = 500
    held_out_windows: int = 64
    sample_prompt: str = "def __init__(self"

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> RunOptions:
        """Options from `to_json`'s form. Raises ConfigError where they are none."""
        try:
            config = ModelConfig.from_json(fields["config"])
            recipe = Recipe(**fields["recipe"])
            rest = {name: value for name, value in fields.items() if name not in ("config", "recipe")}
            return RunOptions(config=config, recipe=recipe, **rest)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"incomplete training options: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A look at the model during a run: mean held-out loss (nats a token) and a greedy continuation."""

    step: int
    held_out_loss: float
    sample: str


class Observer:
    """What a run tells while it goes on; a terminal shows it, a test collects it. Does nothing by itself."""

    def on_message(self, text: str) -> None:
        """A phase before the first step began or ended."""

    def on_start(self, step: int, steps: int) -> None:
        """Training begins after `step` steps of `steps`."""

    def on_step(self, step: int, result: StepResult, tokens: int, seconds: float) -> None:
        """Step number `step` (1-based) was done: its tokens and seconds."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """The held-out loss was measured."""


class Run:
    """A run in progress: `Run(out, options, resume=...).finish()` trains to the last step."""

    def __init__(
        self, out: Path, options: RunOptions, *, resume: bool, observer: Observer, workers: int = 1
    ) -> None:
        """Prepares data, tokenizer and state.

        Raises:
            ConfigError: a run is already there and `resume` is False, or the run there is another one.
        """
        self.out, self.folder, self.observer = out, out / FOLDER, observer
        checkpoint = self.folder / "checkpoint.pt"
        if not resume and checkpoint.exists():
            raise ConfigError(f"{out} holds a training run already: resume it, or train into another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.corpus: Corpus = prepare_corpus(
            self.folder, options.source, options.config.vocabulary, stored=resume, say=observer.on_message
        )
        self.options = options
        config, recipe = options.config, options.recipe
        if resume:
            self.state = load_checkpoint(
                checkpoint, config, recipe, self.corpus.counts.digest, workers=workers
            )
        else:
            self.state = TrainingState(config, recipe, workers=workers)
        self.batches = Batches(
            tokens=self.corpus.train, batch=recipe.batch, context=config.context, seed=recipe.seed
        )
        self.held_out_loss: float | None = None
        self.losses: deque[float] = deque(maxlen=RECENT_STEPS)
        self._begin_log()
        text = json.dumps(options.to_json(), indent=2) + "\n"
        replace_file(self.folder / "run.json", lambda part: part.write_text(text))

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that was trained with the model."""
        return self.corpus.tokenizer

    def finish(self) -> Model:
        """Trains to the last step, exporting at checkpoints, and returns the model."""
        options, state = self.options, self.state
        steps = options.recipe.steps
        self.observer.on_start(state.step, steps)
        while state.step < steps:
            began = time.perf_counter()
            inputs, targets = self.batches.at(state.step)
            result = state.advance(inputs, targets)
            seconds = time.perf_counter() - began
            self.losses.append(result.loss)
            self._log(step=state.step, **dataclasses.asdict(result), seconds=round(seconds, 4))
            self.observer.on_step(state.step, result, targets.numel(), seconds)
            last = state.step == steps
            if last or state.step % options.evaluate_every == 0:
                self.evaluate(whole=last)
            if last or state.step % options.checkpoint_every == 0:
                self.save()
        return self.model()

    def calibrated_ranges(self) -> dict[str, float]:
        """Ranges of the model as it stands, over its sample prompt and the first held-out windows.

        Windows are a little shorter than the context: their text may take more tokens than they had.
        """
        corpus, length = self.corpus, self.options.config.context
        stream = corpus.held_out[: CALIBRATION_WINDOWS * length]
        windows = [stream[start : start + length * 7 // 8] for start in range(0, len(stream), length)]
        texts = [corpus.tokenizer.decode(window.tolist()) for window in windows]
        prompts = [self.options.sample_prompt, *texts]
        fitting = [text for text in prompts if 0 < len(corpus.tokenizer.encode(text)) <= length]
        return calibrate(self._model({}), fitting)

    def evaluate(self, *, whole: bool) -> Evaluation:
        """Held-out loss over the first windows, or over the whole stream, and a sample."""
        options, weights = self.options, self.state.plain_weights()
        limit = len(self.corpus.held_out) if whole else options.held_out_windows
        batches = consecutive_batches(
            self.corpus.held_out, options.recipe.batch, options.config.context, limit
        )
        self.held_out_loss = mean_loss(options.config, weights, batches)
        evaluation = Evaluation(
            step=self.state.step, held_out_loss=self.held_out_loss, sample=self._sample(weights)
        )
        self._log(**dataclasses.asdict(evaluation))
        self.observer.on_evaluation(evaluation)
        return evaluation

    def save(self) -> None:
        """Writes the checkpoint, and the model as it stands in float16 with its card."""
        save_checkpoint(self.folder / "checkpoint.pt", self.state, self.corpus.counts.digest)
        save_model(self.out, self.model(), torch.float16, card=self.card())

    def model(self) -> Model:
        """The model as it stands, calibrated; its weights share the run's memory."""
        return self._model(self.calibrated_ranges())

    def _model(self, ranges: dict[str, float]) -> Model:
        return Model(
            name=self.out.name,
            config=self.options.config,
            weights=self.state.plain_weights(),
            tokenizer=self.tokenizer,
            ranges=ranges,
        )

    def card(self) -> str:
        """The model card as of this step."""
        corpus, counts = self.corpus, self.corpus.counts
        record = TrainingRecord(
            source=counts.description,
            split_digest=counts.digest,
            train_files=counts.train_files,
            held_out_files=counts.held_out_files,
            train_tokens=len(corpus.train),
            held_out_tokens=len(corpus.held_out),
            step=self.state.step,
            train_loss=sum(self.losses) / len(self.losses) if self.losses else None,
            held_out_loss=self.held_out_loss,
            held_out_characters=counts.held_out_characters / len(corpus.held_out),
        )
        return model_card(self.out.name, self.options.config, self.options.recipe, record)

    def _sample(self, weights: dict[str, torch.Tensor]) -> str:
        prompt = self.tokenizer.encode(self.options.sample_prompt)[: self.options.config.context - 1]
        answer = greedy_tokens(self.options.config, weights, prompt, 48, self.tokenizer.stop)
        return self.tokenizer.decode([*prompt, *answer])

    def _begin_log(self) -> None:
        """Keeps the lines of steps that the state has seen: a run that died wrote some more."""
        path = self.folder / "log.jsonl"
        kept: list[str] = []
        if self.state.step and path.exists():
            for line in path.read_text().splitlines():
                fields = json.loads(line)
                if fields["step"] <= self.state.step:
                    kept.append(line)
                    self._remember(fields)
        replace_file(path, lambda part: part.write_text("".join(f"{line}\n" for line in kept)))

    def _remember(self, fields: dict[str, Any]) -> None:
        if "loss" in fields:
            self.losses.append(fields["loss"])
        else:
            self.held_out_loss = fields["held_out_loss"]

    def _log(self, **fields: int | float | str) -> None:
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(fields) + "\n")


def stored_options(out: Path) -> RunOptions:
    """The options of the run in a model folder. Raises ConfigError where there is none."""
    path = out / FOLDER / "run.json"
    try:
        fields: object = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"nothing to resume in {out}: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return RunOptions.from_json(cast("dict[str, Any]", fields))


def measured_steps(
    options: RunOptions, minutes: float, *, workers: int = 1, trial: int = 12, say: Callable[[str], None]
) -> int:
    """How many steps fit into `minutes`, from `trial` steps on made-up tokens (the first two not timed).

    Evaluations and checkpoints take a few percent more, and other work on the machine changes the speed.
    """
    recipe, config = options.recipe, options.config
    state = TrainingState(config, dataclasses.replace(recipe, steps=trial), workers=workers)
    generator = torch.Generator().manual_seed(recipe.seed)
    began = time.perf_counter()
    for number in range(trial):
        if number == 2:
            began = time.perf_counter()
        shape = (recipe.batch, config.context + 1)
        tokens = torch.randint(config.vocabulary, shape, generator=generator)
        state.advance(tokens[:, :-1], tokens[:, 1:])
    seconds = (time.perf_counter() - began) / (trial - 2)
    steps = max(1, int(minutes * 60 / seconds))
    say(f"{seconds:.3f} s a step measured: {steps} steps in {minutes:g} minutes")
    return steps
