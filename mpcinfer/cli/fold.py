"""`mpcinfer fold`: a model rewritten so that a private run computes less."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.cli import options
from mpcinfer.models.folded import LARGEST_CONDITION
from protocols.plan import DEFAULT_PLAN


def fold(
    model: Annotated[str, typer.Argument(help="A name from `mpcinfer models`, or a path.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="A text file; blank lines separate the sample prompts to calibrate the folded model on.",
            exists=True,
        ),
    ] = None,
    plan: options.PlanName = DEFAULT_PLAN,
    choices: options.Choices = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of the bills before and after.")] = 128,
    largest_condition: Annotated[
        float, typer.Option(min=1, help="FFNs stay where a worse basis would be needed.")
    ] = LARGEST_CONDITION,
) -> None:
    """Fold a model's linear FFNs away, and write it down as a model folder.

    Models without norms in their blocks and without activations (SM+ScFuFFN and its kin) become attention
    alone: the same function, with less to compute. Where attention is by powers, the scores of each head are
    divided by a number that brings divisors near 1; that needs --prompts.

    Bills before and after are of calibrated widths with --prompts, and of the default widths without.

    Everything else that folds (norm gains, temperatures, scales) folds in every private run by itself.
    """
    from mpcinfer.cli.folding import write_folded

    write_folded(model, out, prompts, plan, choices or [], tokens, largest_condition)
