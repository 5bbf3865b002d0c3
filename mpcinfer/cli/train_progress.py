"""A training run on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mpcinfer.entropy.summary import EntropySummary
from mpcinfer.training.observer import Evaluation, Observer
from mpcinfer.training.trainer import StepResult


class TrainingProgress(Observer):
    """A bar with loss, speed and time left, and a line an evaluation."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("step"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]:,.0f} tokens/s"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task: TaskID | None = None
        self._loss = 0.0
        self._speed = 0.0

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def on_message(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def on_start(self, step: int, steps: int) -> None:
        self._task = self._bar.add_task("train", total=steps, completed=step, loss=0.0, speed=0.0)
        self._bar.start()

    def on_step(self, step: int, result: StepResult, tokens: int, seconds: float) -> None:
        """Loss and speed are shown as running means over about fifty steps."""
        assert self._task is not None
        speed = tokens / seconds
        self._loss = result.loss if not self._loss else 0.98 * self._loss + 0.02 * result.loss
        self._speed = speed if not self._speed else 0.98 * self._speed + 0.02 * speed
        self._bar.update(self._task, completed=step, loss=self._loss, speed=self._speed)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self._console.print(
            f"step {evaluation.step}: held-out loss {evaluation.held_out_loss:.4f}, "
            f"perplexity {evaluation.perplexity:.2f}"
        )
        self._console.print(evaluation.sample, style="dim", markup=False, highlight=False)

    def on_entropies(self, step: int, summary: EntropySummary) -> None:
        self._console.print(
            f"step {step}: mean head entropy {summary.mean:.3f} of {summary.bound:.3f}; overloaded "
            f"{summary.overloaded:.0%}, collapsed {summary.collapsed:.0%}, NaN {summary.nan_heads:.0%}"
        )
