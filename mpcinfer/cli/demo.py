"""`mpcinfer demo`: one private answer on this machine."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console

from mpcinfer.clear import ClearModel
from mpcinfer.cli import options
from mpcinfer.cli.progress import Dealing, Stream, announce
from mpcinfer.cli.tables import print_bill
from mpcinfer.models.load import load_model
from mpcinfer.roles.together import private

PROMPT = "def read_lines(path):\n    with open("


def demo(
    prompt: Annotated[str, typer.Argument(help="Python code to complete.")] = PROMPT,
    model: options.Model = "tiny-python",
    plan: options.PlanName = "crypten",
    tokens: Annotated[int, typer.Option(min=1, help="The most tokens to generate.")] = 24,
    layers: Annotated[bool, typer.Option("--layers", help="The bill by layer, too.")] = False,
    labels: Annotated[bool, typer.Option("--labels", help="The bill label by label, too.")] = False,
) -> None:
    """Run server, dealer and client on this machine and complete a piece of Python privately.

    Three processes that talk over encrypted connections: the server holds the model, the client holds the
    prompt, the dealer hands out correlated randomness. The same prompt is then run in the clear, in fixed
    point, to see whether privacy changed a token.
    """
    console = Console()
    with (
        closing(Dealing()) as dealing,
        private(model, plan=plan, say=announce, on_progress=dealing.show) as client,
    ):
        stream = Stream(prompt)

        def show(text: str) -> None:
            dealing.close()
            stream.show(text)

        answer = client.complete(prompt, max_new_tokens=tokens, on_text=show)
        stream.end()
        bill = client.finish()
    console.print()
    print_bill(console, bill, layers=layers, labels=labels)
    console.print()
    reference = ClearModel(load_model(model), fixed_point=True).complete(prompt, max_new_tokens=tokens)
    same = sum(mine == its for mine, its in zip(answer.ids, reference.ids, strict=False))
    if answer.ids == reference.ids:
        console.print(f"The cleartext fixed-point model gives the same {same} tokens.", style="green")
    else:
        console.print(
            f"The cleartext fixed-point model gives other tokens: {reference.text!r}", style="yellow"
        )
