"""`mpcinfer reweight`: weights of a prompt's examples, fitted to validation examples."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.cli import options
from mpcinfer.prompt_weights.settings import LEAST, RATE, RIDGE, STEPS
from protocols.plan import DEFAULT_PLAN


class Method(StrEnum):
    """How weights are found."""

    LARICL = "laricl"
    RICL = "ricl"
    ONE_STEP = "one-step"


def reweight(
    model: Annotated[str, typer.Argument(help="A name from `mpcinfer models`, or a path.")],
    examples: Annotated[
        Path, typer.Option(help='The prompt\'s examples: lines of {"input": "...", "output": "..."}.')
    ],
    validation: Annotated[Path, typer.Option(help="Examples whose outputs are right, in the same form.")],
    out: Annotated[Path, typer.Option(help="The file to write, for `generate --prompt-weights`.")],
    method: Annotated[
        Method,
        typer.Option(
            help="laricl: a linear approximation, from answers alone. ricl: gradient descent. one-step: its "
            "first step. The latter two need the model's weights here."
        ),
    ] = Method.LARICL,
    private: Annotated[
        bool,
        typer.Option(
            "--private",
            help="Ask the model in private runs, all parties as processes on this machine; for laricl.",
        ),
    ] = False,
    plan: options.PlanName = DEFAULT_PLAN,
    choices: options.Choices = None,
    ridge: Annotated[float, typer.Option(help="Of laricl: how much weights are held back to 1.")] = RIDGE,
    rate: Annotated[float, typer.Option(help="Of ricl: the step along the gradient.")] = RATE,
    steps: Annotated[int, typer.Option(min=1, help="Of ricl.")] = STEPS,
    least: Annotated[
        float, typer.Option(help="What the least weight is, relative to the largest; 0 counts as it.")
    ] = LEAST,
) -> None:
    """Fit how much each example of a few-shot prompt counts, for prompts whose examples may be wrong.

    The prompt is all examples, "Input: ..." and "Output: ..." each, then a question. Outputs are labels; what
    is fitted is how likely the right one is for every validation example, among all labels. Weights multiply
    attention; in a private run the client adds their logarithms to its shares, and the server sees nothing of
    them. laricl asks m + 1 times for every validation example, m examples in the prompt; with
    --private every answer is a private one. The methods are reconstructions: docs/methods/prompt_weights.md.

    [bold]Examples[/bold]

        mpcinfer reweight MODEL --examples shots.jsonl --validation known.jsonl --out weights.json
        mpcinfer reweight MODEL --examples shots.jsonl --validation known.jsonl --out weights.json --private
        mpcinfer generate "$PROMPT" --local private --model MODEL --prompt-weights weights.json
    """
    from mpcinfer.cli.reweighting import Settings, reweighted, show_weights
    from mpcinfer.new_file import require_writable

    require_writable(out, "--out")
    settings = Settings(method=method.value, ridge=ridge, rate=rate, steps=steps, least=least)
    found = reweighted(
        model, examples, validation, settings, plan=plan, choices=choices or [], private_runs=private
    )
    show_weights(found, out)
