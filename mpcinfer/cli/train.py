"""`mpcinfer train`: a small language model of one's own, from text to a model folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folder import load_model_folder
from mpcinfer.models.model import Model
from mpcinfer.training.observer import Evaluation, Observer
from mpcinfer.training.options import RunOptions, stored_options
from mpcinfer.training.recipe import Precision, Recipe
from mpcinfer.training.run import Run
from mpcinfer.training.speed import measured_steps
from mpcinfer.training.trainer import StepResult
from parties.errors import ConfigError

DEFAULT_STEPS = 2000


def train(
    out: Annotated[Path, typer.Argument(help="Folder of the model; its last part is the model's name.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="'python' (this machine's standard library and packages), or a file or folder of text.",
            show_default="python",
        ),
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Blocks.", show_default="3")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Residual width.", show_default="256")] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads; divides the width.", show_default="4")
    ] = None,
    hidden: Annotated[
        int | None, typer.Option(min=1, help="FFN width.", show_default="4 times the width")
    ] = None,
    vocabulary: Annotated[
        int | None, typer.Option(min=257, help="Tokens of the tokenizer.", show_default="2048")
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=2, help="Longest sequence in tokens.", show_default="256")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length of the run.", show_default=str(DEFAULT_STEPS))
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Measure the speed and choose --steps to fit this time.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Windows of --context tokens a step.", show_default="8")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.", show_default="0.002")] = None,
    warmup: Annotated[
        int | None,
        typer.Option(min=0, help="Steps of warm-up.", show_default="a tenth of the steps, at most 200"),
    ] = None,
    decay: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Last fraction of the steps, with falling rate.", show_default="0.4"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of weights and data order.", show_default="0")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Of matrix products.", show_default="bfloat16")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between checkpoints, exports and samples.", show_default="500"),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processor cores, each with a part of the batch.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
) -> None:
    """Train a small decoder on text: AdamW, warm-up and decay, checkpoints, a model folder.

    OUT becomes a model folder (config.json, model.safetensors in float16, tokenizer.json, README.md) that
    every other command takes as MODEL. It is written anew at every checkpoint, so a run can be watched,
    stopped with Ctrl-C and gone on with: `mpcinfer train OUT --resume` needs no other option and gives
    exactly what an unbroken run would have given (to rounding, where --workers differs).
    `--resume --steps N --decay F` changes the length of a run
    that has not begun its decay.

    The run itself (token streams, checkpoint, log.jsonl) is in OUT/training; delete it when done.

        mpcinfer train tiny --data python --minutes 60

        mpcinfer train mine --data notes/ --layers 2 --width 128 --steps 500
    """
    console = Console()
    shape = {
        "layers": layers,
        "width": width,
        "heads": heads,
        "hidden": hidden,
        "vocabulary": vocabulary,
        "context": context,
    }
    recipe = {
        "steps": steps,
        "batch": batch,
        "learning_rate": lr,
        "warmup": warmup,
        "decay": decay,
        "seed": seed,
        "precision": precision,
    }
    rest = {"source": data, "evaluate_every": every, "checkpoint_every": every}
    if steps is not None and minutes is not None:
        raise ConfigError("give --steps or --minutes, not both")
    options = _options(stored_options(out) if resume else None, _given(shape), _given(recipe), _given(rest))
    if minutes is not None:
        chosen = measured_steps(options, minutes, workers=workers, say=console.print)
        options = dataclasses.replace(options, recipe=dataclasses.replace(options.recipe, steps=chosen))
    with _Progress(console) as progress:
        run = Run(out, options, resume=resume, observer=progress, workers=workers)
        model = run.finish()
    _report(console, out, model, run)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _options(
    stored: RunOptions | None, shape: dict[str, Any], recipe: dict[str, Any], rest: dict[str, Any]
) -> RunOptions:
    """Stored options, or the defaults, changed by what was given."""
    if stored is not None:
        return dataclasses.replace(
            stored,
            config=dataclasses.replace(stored.config, **_with_heads(shape, stored.config)),
            recipe=dataclasses.replace(stored.recipe, **recipe),
            **rest,
        )
    width, heads = shape.get("width", 256), shape.get("heads", 4)
    shape_defaults: dict[str, Any] = {"layers": 3, "hidden": 4 * width, "vocabulary": 2048, "context": 256}
    steps = recipe.get("steps", DEFAULT_STEPS)
    recipe_defaults: dict[str, Any] = {"steps": steps, "warmup": min(200, steps // 10)}
    rest_defaults: dict[str, Any] = {"source": "python"}
    shape = {**shape_defaults, **shape, **_head_fields(width, heads)}
    return RunOptions(
        config=ModelConfig(**shape),
        recipe=Recipe(**recipe_defaults | recipe),
        **rest_defaults | rest,
    )


def _with_heads(shape: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    if "width" in shape or "heads" in shape:
        return {**shape, **_head_fields(shape.get("width", config.width), shape.get("heads", config.heads))}
    return shape


def _head_fields(width: int, heads: int) -> dict[str, int]:
    if width % heads:
        raise ConfigError(f"--width ({width}) must be a multiple of --heads ({heads})")
    return {"width": width, "heads": heads, "kv_heads": heads, "head_width": width // heads}


class _Progress(Observer):
    """The run on a terminal: a bar with loss, speed and time left, and a line an evaluation."""

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

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def on_message(self, text: str) -> None:
        self._console.print(text)

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
        self._console.print(f"step {evaluation.step}: held-out loss {evaluation.held_out_loss:.4f}")
        self._console.print(evaluation.sample, style="dim", markup=False, highlight=False)


def _report(console: Console, out: Path, model: Model, run: Run) -> None:
    """Says what was made, from the folder as others will read it."""
    exported = load_model_folder(out)
    console.print(
        f"{out}: {exported.config.parameters:,} parameters, {run.state.step} steps, "
        f"held-out loss {run.held_out_loss if run.held_out_loss is not None else float('nan'):.4f}"
    )
    console.print(f"try: mpcinfer generate --local {out} 'for i in'", markup=False, highlight=False)
