"""`mpcinfer skip`: an operator's word that some of a folder's correlations are lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def skip(
    folder: Annotated[Path, typer.Argument(help="A party's folder that `mpcinfer deal` made.")],
    to: Annotated[int, typer.Option(min=0, help="The next bundle to use; those before it are deleted.")],
) -> None:
    """Give up correlations that the other party says it has used.

    Both parties use bundle after bundle, one a conversation. Where one is more than one ahead, because an old
    copy of a folder was put back, or because it deviates, the other stops and asks for this.

    [bold]Example[/bold]

        mpcinfer skip correlations/server --to 2
    """
    from mpcinfer.cli.progress import announce
    from mpcinfer.suites.registry import suite_holding

    given_up, left = suite_holding(folder).skip(folder, to)
    announce(f"gave up {given_up} bundles; {left} are left in {folder}")
