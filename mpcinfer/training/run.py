"""A whole training run: data to tokens, steps, evaluations, checkpoints, model folder.

A run lives in the model's folder. Beside the model (exported at every checkpoint, usable at any time):

    training/run.json          shape, recipe, penalties and data of the run
    training/train.npy         token streams of both sides of the split: a resumed run reads these, so that
    training/held_out.npy        files that changed on the machine meanwhile do not change the run
    training/data.json         counts and digest of the split
    training/protected.npy     which tokens of the training stream are protected, where some are
    training/checkpoint.pt     where the run stands
    training/log.jsonl         what happened: see `mpcinfer.training.log`

A run on the data of another run or of a stored corpus reads the streams there.
"""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path

import torch

from mpcinfer.entropy.measure import HeadEntropies
from mpcinfer.entropy.summary import summarise
from mpcinfer.models.folder import replace_file, save_model
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.tokenizer import Tokenizer
from mpcinfer.training.batches import Batches, consecutive_batches
from mpcinfer.training.card import TrainingRecord, model_card
from mpcinfer.training.checkpoint import restore, save_checkpoint
from mpcinfer.training.corpus import Corpus, prepare_corpus
from mpcinfer.training.log import RunLog
from mpcinfer.training.losses import Batch, greedy_tokens, mean_loss, measured_entropies
from mpcinfer.training.observer import Evaluation, Observer
from mpcinfer.training.options import FOLDER, RunOptions
from mpcinfer.training.processes import Processes
from mpcinfer.training.protected_text import Mask, find_protected, save_mask, stored_mask
from mpcinfer.training.start import Start, begun_as_powers, load_start
from mpcinfer.training.trainer import StepResult, TrainingState
from mpcinfer.training.weights import converted_weights
from parties.errors import ConfigError, RangeError

RECENT_STEPS = 200
CALIBRATION_WINDOWS = 32
ENTROPY_WINDOWS = 16


class Run:
    """A run in progress: `Run(out, options, resume=...).finish()` trains to the last step."""

    def __init__(
        self,
        out: Path,
        options: RunOptions,
        *,
        resume: bool,
        observer: Observer,
        workers: int = 1,
        processes: Processes | None = None,
        device: str = "cpu",
    ) -> None:
        """Prepares data, tokenizer and state.

        Args:
            out: the model folder.
            options: what to train; of a run that is resumed, its own, or a longer or shorter one.
            resume: go on with the run that is there.
            observer: told of what happens, in the first process.
            workers: processor cores, see `GradientWorkers`.
            processes: that share the run; the first writes the files.
            device: where to compute, in torch's words.

        Raises:
            ConfigError: a run is already there and `resume` is False, or the run there is another one.
        """
        self.out, self.folder, self.options = out, out / FOLDER, options
        self._processes = Processes() if processes is None else processes
        self._writes = self._processes.rank == 0
        self.observer = observer if self._writes else Observer()
        checkpoint = self.folder / "checkpoint.pt"
        if not resume and checkpoint.exists():
            raise ConfigError(f"{out} holds a training run already: resume it, or train into another folder")
        start = None if resume or options.start_from is None else load_start(options.start_from)
        self.corpus = self._prepared(None if start is None else start.tokenizer, resume)
        config, recipe = options.config, options.recipe
        self.state = TrainingState(
            config,
            recipe,
            penalty=options.penalty,
            ranges=options.ranges,
            protection=options.protection,
            first=None if start is None else self._converted(start),
            workers=workers,
            processes=self._processes,
            device=device,
        )
        if resume:
            restore(self.state, checkpoint, self.corpus.counts.digest)
        self.batches = Batches(
            tokens=self.corpus.train,
            batch=recipe.batch,
            context=config.context,
            seed=recipe.seed,
            protected=self._protected(resume),
        )
        self.held_out_loss: float | None = None
        self.diverged_at: int | None = None
        self.losses: deque[float] = deque(maxlen=RECENT_STEPS)
        self.curve: list[float] = []
        if self._writes:
            self._begin_log()

    def _prepared(self, tokenizer: Tokenizer | None, resume: bool) -> Corpus:
        """The corpus: made by the first process, read by the others."""
        source, vocabulary, say = (
            self.options.source,
            self.options.config.vocabulary,
            self.observer.on_message,
        )
        if self._writes:
            self.folder.mkdir(parents=True, exist_ok=True)
            corpus = prepare_corpus(
                self.folder, source, vocabulary, stored=resume, say=say, tokenizer=tokenizer
            )
            self._processes.wait()
            return corpus
        self._processes.wait()
        return prepare_corpus(self.folder, source, vocabulary, stored=True, say=say, tokenizer=tokenizer)

    def _protected(self, resume: bool) -> Mask | None:
        """Which training tokens are protected: found in a new run, read in one that is resumed."""
        if self.options.protect is None:
            return None
        stream = self.corpus.train
        if resume:
            return stored_mask(self.folder, len(stream))
        mask = find_protected(Path(self.options.protect), self.corpus.tokenizer, stream)
        if self._writes:
            save_mask(self.folder, mask)
        self.observer.on_message(f"{int(mask.sum()):,} of {len(mask):,} training tokens are protected")
        return mask

    def _converted(self, start: Start) -> dict[str, torch.Tensor]:
        config = self.options.config
        earlier = begun_as_powers(start, config)
        conversion = converted_weights(config, self.options.recipe, earlier)
        self.observer.on_message(f"from {self.options.start_from}: {conversion.describe()}")
        return conversion.weights

    def _begin_log(self) -> None:
        self._log = RunLog(self.folder, self.state.step)
        for line in self._log.kept:
            if "loss" in line:
                self.losses.append(line["loss"])
                self.curve.append(line["loss"])
            elif "held_out_loss" in line:
                self.held_out_loss = line["held_out_loss"]
        text = json.dumps(self.options.to_json(), indent=2) + "\n"
        replace_file(self.folder / "run.json", lambda part: part.write_text(text))

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that was trained with the model, or came with its first weights."""
        return self.corpus.tokenizer

    def finish(self) -> Model:
        """Trains to the last step, or until it diverges where that is recorded; returns the model.

        Checkpoints and exports on the way.
        """
        options, state = self.options, self.state
        steps = options.recipe.steps
        self.observer.on_start(state.step, steps)
        if state.step == 0 and options.entropy_every:
            self._look_at_entropies(0, self._held_out(ENTROPY_WINDOWS))
        while state.step < steps and self.diverged_at is None:
            began = time.perf_counter()
            inputs, targets = self.batches.at(state.step)
            result = state.advance(inputs, targets, self.batches.protected_at(state.step))
            self._told(result, (inputs, targets), time.perf_counter() - began)
            last = state.step == steps or self.diverged_at is not None
            if not self._writes:
                continue
            if options.entropy_every and state.step % options.entropy_every == 0 and not result.diverged:
                self._look_at_entropies(state.step, self._held_out(ENTROPY_WINDOWS))
            if last or state.step % options.evaluate_every == 0:
                self.evaluate(whole=last)
            if last or state.step % options.checkpoint_every == 0:
                self.save()
        return self.model()

    def _told(self, result: StepResult, batch: Batch, seconds: float) -> None:
        """Logs a step, or its divergence with the entropies of the batch that brought it."""
        number, tokens = self.state.step + int(result.diverged), batch[1].numel()
        self.curve.append(result.loss)
        self.losses.append(result.loss)
        if result.diverged:
            self.diverged_at = number
        if not self._writes:
            return
        self._log.step(number, result, tokens, seconds)
        if not result.diverged:
            self.observer.on_step(number, result, tokens, seconds)
            return
        self.observer.on_message(
            f"diverged at step {number}: loss {result.loss}, gradient norm {result.gradient_norm}; "
            "the weights are those of the step before"
        )
        self._look_at_entropies(number, [batch])

    def _look_at_entropies(self, step: int, batches: list[Batch]) -> None:
        if not self._writes:
            return
        found = measured_entropies(self.options.config, self.state.plain_weights(), batches)
        self._log.entropies(step, found)
        self.observer.on_entropies(step, summarise(found))

    def entropies(self) -> HeadEntropies:
        """Entropies of the heads as they stand, over the first held-out windows."""
        weights = self.state.plain_weights()
        return measured_entropies(self.options.config, weights, self._held_out(ENTROPY_WINDOWS))

    def _held_out(self, windows: int) -> list[Batch]:
        config, recipe = self.options.config, self.options.recipe
        return list(consecutive_batches(self.corpus.held_out, recipe.batch, config.context, windows))

    def calibrated_ranges(self) -> dict[str, float]:
        """Ranges of the model as it stands, over its sample prompt and the first held-out windows.

        Windows are a little shorter than the context: their text may take more tokens than they had. A model
        whose divergence is recorded has none where its values are not finite.
        """
        corpus, length = self.corpus, self.options.config.context
        stream = corpus.held_out[: CALIBRATION_WINDOWS * length]
        windows = [stream[start : start + length * 7 // 8] for start in range(0, len(stream), length)]
        texts = [corpus.tokenizer.decode(window.tolist()) for window in windows]
        prompts = [self.options.sample_prompt, *texts]
        fitting = [text for text in prompts if 0 < len(corpus.tokenizer.encode(text)) <= length]
        try:
            return calibrate(self._model({}), fitting)
        except RangeError:
            if self.options.recipe.on_divergence == "refuse":
                raise
            return {}

    def evaluate(self, *, whole: bool) -> Evaluation:
        """Held-out loss over the first windows, or over the whole stream, and a sample."""
        options, weights = self.options, self.state.plain_weights()
        limit = len(self.corpus.held_out) if whole else options.held_out_windows
        batches = consecutive_batches(
            self.corpus.held_out, options.recipe.batch, options.config.context, limit
        )
        self.held_out_loss = mean_loss(options.config, weights, batches)
        evaluation = Evaluation(step=self.state.step, held_out_loss=self.held_out_loss, sample=self._sample())
        self._log.evaluation(evaluation)
        self.observer.on_evaluation(evaluation)
        return evaluation

    def save(self) -> None:
        """Writes the checkpoint, and the model as it stands in float16 with its card.

        Where divergence is recorded, weights beyond float16 are no error: the model is in float32 then.
        """
        save_checkpoint(self.folder / "checkpoint.pt", self.state, self.corpus.counts.digest)
        model, dtype = self.model(), torch.float16
        if self.options.recipe.on_divergence == "record":
            fits = all(bool(weight.half().isfinite().all()) for weight in model.weights.values())
            dtype = torch.float16 if fits else torch.float32
        save_model(self.out, model, dtype, card=self.card())

    def model(self) -> Model:
        """The model as it stands, calibrated; in main memory its weights are the run's own."""
        return self._model(self.calibrated_ranges())

    def _model(self, ranges: dict[str, float]) -> Model:
        return Model(
            name=self.out.name,
            config=self.options.config,
            weights={name: weight.cpu() for name, weight in self.state.plain_weights().items()},
            tokenizer=self.tokenizer,
            ranges=ranges,
        )

    def card(self) -> str:
        """The model card as of this step."""
        corpus, counts, options = self.corpus, self.corpus.counts, self.options
        record = TrainingRecord(
            source=counts.description,
            split_digest=counts.digest,
            train_files=counts.train_files,
            held_out_files=counts.held_out_files,
            train_tokens=len(corpus.train),
            held_out_tokens=len(corpus.held_out),
            step=self.state.step,
            diverged_at=self.diverged_at,
            train_loss=sum(self.losses) / len(self.losses) if self.losses else None,
            held_out_loss=self.held_out_loss,
            held_out_characters=counts.held_out_characters / len(corpus.held_out),
            penalty=options.penalty,
            ranges=options.ranges,
            protection=options.protection,
            start_from=None if options.start_from is None else Path(options.start_from).name,
        )
        return model_card(self.out.name, options.config, options.recipe, record)

    def _sample(self) -> str:
        options, tokenizer = self.options, self.tokenizer
        weights = {name: weight.cpu() for name, weight in self.state.plain_weights().items()}
        prompt = tokenizer.encode(options.sample_prompt)[: options.config.context - 1]
        answer = greedy_tokens(options.config, weights, prompt, 48, tokenizer.stop)
        return tokenizer.decode([*prompt, *answer])
