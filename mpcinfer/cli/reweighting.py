"""What `mpcinfer reweight` does once its arguments are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from mpcinfer.cli.progress import Waiting, announce
from parties.errors import ConfigError

if TYPE_CHECKING:  # imported while the other parties start
    import torch

    from mpcinfer.models.model import Model
    from mpcinfer.prompt_weights.task import Example, FewShot
    from mpcinfer.prompt_weights.weights import PromptWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How weights are fitted.

    Attributes:
        method: "laricl", "ricl" or "one-step".
        ridge, rate, steps: see `mpcinfer.prompt_weights.fitting`.
        least: see `PromptWeights`.
    """

    method: str
    ridge: float
    rate: float
    steps: int
    least: float


def reweighted(
    model: str,
    examples: Path,
    validation: Path,
    settings: Settings,
    *,
    plan: str,
    choices: Sequence[str],
    private_runs: bool,
) -> PromptWeights:
    """Weights for the examples of a file.

    Raises:
        ConfigError: files that are no examples, a method that private runs do not allow, or as the method.
    """
    from mpcinfer.prompt_weights.task import FewShot, read_examples
    from mpcinfer.prompt_weights.weights import PromptWeights

    if private_runs and settings.method != "laricl":
        raise ConfigError(f"--private is for laricl: {settings.method} takes gradients")
    shots, known = read_examples(examples), read_examples(validation)
    bar = Waiting()
    with closing(bar):
        if private_runs:
            task, weights = _privately(model, shots, known, settings, plan, choices, bar)
        else:
            from mpcinfer.models.load import load_model
            from mpcinfer.models.public import PublicModel

            loaded = load_model(model)
            task = FewShot.of(PublicModel.of(loaded), shots, known)
            weights = _in_the_clear(loaded, task, settings, bar)
    return PromptWeights.of(task.texts, [float(each) for each in weights], settings.least)


def show_weights(weights: PromptWeights, out: Path) -> None:
    """Writes them, and says what they are."""
    from mpcinfer.prompt_weights.document import document_of

    out.write_text(json.dumps(document_of(weights), indent=2) + "\n", encoding="utf-8")
    table = Table("weight", "example", box=None, header_style="bold")
    for text, weight in zip(weights.examples, weights.weights, strict=True):
        table.add_row(f"{weight:.2f}", text.replace("\n", " "))
    Console().print(table)
    announce(f"written to {out}")


def _in_the_clear(model: Model, task: FewShot, settings: Settings, bar: Waiting) -> torch.Tensor:
    from mpcinfer.prompt_weights.fitting import laricl, one_step, ricl
    from mpcinfer.prompt_weights.in_the_clear import ClearPredictions

    told = partial(bar.step, "validation examples", detail=settings.method)
    predict = ClearPredictions(model, task, least=settings.least, on_pass=told)
    right, count = task.right(), len(task.examples)
    if settings.method == "laricl":
        return laricl(predict, right, count, ridge=settings.ridge)
    if settings.method == "one-step":
        return one_step(predict, right, count)

    def stepped(done: int, of: int, loss: float) -> None:
        bar.step("steps", done, of, f"validation loss {loss:.3f}")

    return ricl(predict, right, count, rate=settings.rate, steps=settings.steps, on_step=stepped)


def _privately(
    model: str,
    shots: Sequence[Example],
    known: Sequence[Example],
    settings: Settings,
    plan: str,
    choices: Sequence[str],
    bar: Waiting,
) -> tuple[FewShot, torch.Tensor]:
    """LARICL over private runs, its bill at the end."""
    from mpcinfer.cli.tables import print_bill
    from mpcinfer.prompt_weights.black_box import AskedPredictions
    from mpcinfer.prompt_weights.fitting import laricl
    from mpcinfer.prompt_weights.task import FewShot
    from mpcinfer.roles.together import private

    def told(done: int, of: int) -> None:
        bar.step("private answers", done, of, settings.method)

    with private(model, plan=plan, choices=choices, say=announce, on_progress=bar.show) as client:
        task = FewShot.of(client.public, shots, known)
        predict = AskedPredictions(client, task, least=settings.least, on_pass=told)
        weights = laricl(predict, task.right(), len(task.examples), ridge=settings.ridge)
        bill = client.finish()
    print_bill(Console(stderr=True), bill, layers=False, labels=False)
    return task, weights
