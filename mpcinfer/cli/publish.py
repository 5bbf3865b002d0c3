"""`mpcinfer publish`: what a client may have of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def publish(
    model: Annotated[str, typer.Argument(help="A name from `mpcinfer models`, or a path.")],
    out: Annotated[Path, typer.Option(help="The folder to write; it can be given away as it is.")],
) -> None:
    """Write what a client may have of a model: shape, tokenizer, chat template and ranges; never a weight.

    Every command of a client takes the folder as MODEL: `generate --server`, `chat`, `cost`, `deal`, `plan`.
    A client without it gets the same from the server when it connects. The digest that is printed names all
    of it: a client that was told it by other means pins it with --digest.

    [bold]Example[/bold]

        mpcinfer calibrate MODEL --prompts FILE --out MODEL/ranges.json
        mpcinfer publish MODEL --out FOLDER
    """
    from mpcinfer.models.load import load_public
    from mpcinfer.models.publish import publish as write

    digest = write(load_public(model), out)
    console = Console(highlight=False)
    console.print(f"{out}: shape, tokenizer and ranges of {model}, no weights", markup=False, soft_wrap=True)
    console.print(f"digest {digest}", soft_wrap=True)
