"""Training as a Python call: a shape, a recipe and data to a model, its losses and its entropies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mpcinfer.entropy.measure import HeadEntropies
from mpcinfer.entropy.penalty import EntropyPenalty
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.training.observer import Observer, perplexity
from mpcinfer.training.options import FOLDER, RunOptions
from mpcinfer.training.protected_data import ProtectedDataLoss
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.run import Run
from mpcinfer.training.trainer import TrainingState


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run left.

    Attributes:
        model: calibrated, in float32; `out` holds it in float16.
        state: weights, optimizer and thresholds after the last step.
        losses: cross-entropy before every step, nats a token; the last is not finite where it diverged.
        held_out_loss: nats a token, over the whole held-out side.
        entropies: of the heads, over the first held-out windows.
        diverged_at: the step (from 1) that had no finite loss or gradient; None for none.
    """

    model: Model
    state: TrainingState
    losses: list[float]
    held_out_loss: float
    entropies: HeadEntropies
    diverged_at: int | None

    @property
    def perplexity(self) -> float:
        """exp of the held-out loss, a token."""
        return perplexity(self.held_out_loss)


def train(
    config: ModelConfig,
    recipe: Recipe,
    data: Path | str,
    out: Path | str,
    *,
    penalty: EntropyPenalty | None = None,
    ranges: RangePenalty | None = None,
    protect: Path | str | None = None,
    protection: ProtectedDataLoss | None = None,
    start_from: str | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    workers: int = 1,
    device: str = "cpu",
    every: int = 500,
    entropy_every: int = 500,
    held_out_windows: int = 64,
) -> Trained:
    """Trains a model into a folder.

    To train several shapes on the same tokens, fill a folder with `prepare_corpus` once and give it as
    `data` each time.

    Args:
        config: the shape; its vocabulary is that of the tokenizer to train, or at least that of stored data.
        recipe: how to train.
        data: `python`, a file or folder of text, a stored corpus, or the folder of another run.
        out: the model folder to make; the run itself is in `out`/training.
        penalty, ranges: what to add to the cross-entropy.
        protect: a file or folder whose text in the data is protected.
        protection: the loss on it; the defaults where `protect` is given alone.
        start_from: a model or checkpoint to take weights of the same names and shapes from.
        resume: go on where `out` holds this run already (a finished one trains no more); begin it where not.
        observer: told of what happens.
        workers, device: where to compute; see `Run`.
        every: steps between evaluations, and between checkpoints.
        entropy_every: steps between looks at the heads' entropies; 0 for none.
        held_out_windows: windows of an evaluation; the last reads the whole held-out side.

    Raises:
        ConfigError: unusable data, a folder with another run, or a divergence that the recipe refuses.
    """
    folder = Path(out)
    options = RunOptions(
        source=str(data),
        config=config,
        recipe=recipe,
        penalty=penalty,
        ranges=ranges,
        protect=None if protect is None else str(protect),
        protection=ProtectedDataLoss() if protection is None and protect is not None else protection,
        start_from=start_from,
        evaluate_every=every,
        checkpoint_every=every,
        entropy_every=entropy_every,
        held_out_windows=held_out_windows,
    )
    run = Run(
        folder,
        options,
        resume=resume and (folder / FOLDER / "checkpoint.pt").exists(),
        observer=Observer() if observer is None else observer,
        workers=workers,
        device=device,
    )
    model = run.finish()
    assert run.held_out_loss is not None
    return Trained(
        model=model,
        state=run.state,
        losses=run.curve,
        held_out_loss=run.held_out_loss,
        entropies=run.entropies(),
        diverged_at=run.diverged_at,
    )
