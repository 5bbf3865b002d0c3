"""`mpcinfer keys`: CURVE key pairs, one for each party."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from parties.keys import load_public, new_keypair

keys = typer.Typer(
    help="Make and show the key pairs that encrypt and authenticate every connection.", no_args_is_help=True
)


@keys.command("new")
def new(
    names: Annotated[list[str], typer.Argument(help="Names of parties: server client dealer, for example.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where the files go.")] = Path("keys"),
) -> None:
    """Make a key pair for each name.

    NAME.secret stays with its party (mode 0600); NAME.public goes to the others. Files are never
    overwritten.
    """
    for name in names:
        new_keypair(folder, name)
        Console().print(f"{folder / name}.secret  keep it; {folder / name}.public  give it away")


@keys.command("show")
def show(file: Annotated[Path, typer.Argument(help="A .public or .secret file.")]) -> None:
    """Print a file's public key."""
    typer.echo(load_public(file))
