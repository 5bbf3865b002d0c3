"""log.jsonl: a line a step, a line an evaluation, a line a look at the heads' entropies.

    step         step, loss (nats a token), the penalties added to it, gradient_norm, rate, seconds,
                 tokens_per_second
    evaluation   step, held_out_loss, held_out_perplexity, sample
    entropies    step, tokens (of a window), entropies and nan_fractions [layer][head], and their summary:
                 mean_entropy, overloaded, collapsed, nan_heads
    divergence   step, diverged (true), and what a step's line has

Numbers that are not finite are the texts "nan", "inf" and "-inf", which JSON has no numbers for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from mpcinfer.entropy.measure import HeadEntropies
from mpcinfer.entropy.summary import summarise
from mpcinfer.models.folder import replace_file
from mpcinfer.training.observer import Evaluation
from mpcinfer.training.trainer import StepResult
from parties.errors import ConfigError

FILE = "log.jsonl"


class RunLog:
    """The log of a run, which goes on where its state stands."""

    def __init__(self, folder: Path, step: int) -> None:
        """Keeps the lines of the first `step` steps: a run that died wrote some more."""
        self._path = folder / FILE
        lines = read_log(folder) if step and self._path.exists() else []
        self.kept = [line for line in lines if line["step"] <= step]
        text = "".join(f"{json.dumps(_plain(line))}\n" for line in self.kept)
        replace_file(self._path, lambda part: part.write_text(text))

    def step(self, step: int, result: StepResult, tokens: int, seconds: float) -> None:
        """Writes what a step did, or that it diverged."""
        fields: dict[str, Any] = {"step": step}
        if result.diverged:
            fields["diverged"] = True
        fields |= {"loss": result.loss, **result.penalties}
        fields |= {"gradient_norm": result.gradient_norm, "rate": result.rate, **result.optimizer}
        speed = round(tokens / seconds) if seconds else 0
        self._write(**fields, seconds=round(seconds, 4), tokens_per_second=speed)

    def evaluation(self, evaluation: Evaluation) -> None:
        """Writes an evaluation."""
        self._write(
            step=evaluation.step,
            held_out_loss=evaluation.held_out_loss,
            held_out_perplexity=evaluation.perplexity,
            sample=evaluation.sample,
        )

    def entropies(self, step: int, found: HeadEntropies) -> None:
        """Writes the entropies of the heads."""
        summary = summarise(found)
        self._write(
            step=step,
            tokens=found.tokens,
            entropies=_rounded(found.entropy),
            nan_fractions=_rounded(found.nan_fraction),
            mean_entropy=summary.mean,
            overloaded=summary.overloaded,
            collapsed=summary.collapsed,
            nan_heads=summary.nan_heads,
        )

    def _write(self, **fields: object) -> None:
        with self._path.open("a") as log:
            log.write(json.dumps(_plain(fields), allow_nan=False) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; the three texts that stand for numbers are numbers again.

    Raises:
        ConfigError: no log, or a line that is no JSON object with a step.
    """
    path = folder / FILE
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a training log: {error}") from error
    if not all(isinstance(line, dict) and "step" in line for line in lines):
        raise ConfigError(f"{path}: expected an object with a step on every line")
    return [
        {name: value if name == "sample" else _number(value) for name, value in line.items()}
        for line in lines
    ]


def _plain(value: object) -> object:
    """A value with texts for numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in cast("list[object]", value)]
    return value


def _number(value: object) -> object:
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, list):
        return [_number(entry) for entry in cast("list[object]", value)]
    return value


def _rounded(values: torch.Tensor) -> list[list[float]]:
    return [[round(float(value), 5) for value in row] for row in values]
