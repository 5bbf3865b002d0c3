"""`mpcinfer demo`: one private answer on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from mpcinfer.cli import options
from protocols.plan import DEFAULT_PLAN


def demo(
    prompt: Annotated[
        str | None, typer.Argument(help=f"A question, or code to complete with --model {options.SHIPPED}.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help=f"A name from `mpcinfer models`; {options.ASSISTANT} where it is installed."),
    ] = None,
    plan: options.PlanName = DEFAULT_PLAN,
    tokens: Annotated[int, typer.Option(min=1, help="The most tokens to generate.")] = 16,
    layers: Annotated[bool, typer.Option("--layers", help="The bill by layer, too.")] = False,
    labels: Annotated[bool, typer.Option("--labels", help="The bill label by label, too.")] = False,
) -> None:
    """Run all parties on this machine and answer a question privately.

    Processes that talk over encrypted connections: the server holds the model, the client holds the prompt,
    and where the plan has a dealer, it hands out correlated randomness. The same prompt is then run in the
    clear, in fixed point, to see whether privacy changed a token.
    """
    from mpcinfer.cli.demonstration import demonstrate

    demonstrate(prompt, model, plan, tokens, layers=layers, labels=labels)
