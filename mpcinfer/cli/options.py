"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Option(help="A name from `mpcinfer models`, or a path.")]
PlanName = Annotated[str, typer.Option("--plan", help="Which protocols; the same at both parties.")]
Choices = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Another protocol for one operation, as `mpcinfer list protocols` names them: "
        "gelu=fine. The same at both parties.",
    ),
]
OwnKey = Annotated[Path, typer.Option("--key", help="This party's .secret file.")]
Timeout = Annotated[
    float, typer.Option(help="Longest wait for a peer's next message, in seconds, before giving up.")
]
Once = Annotated[bool, typer.Option("--once", help="End after one session.")]
Material = Annotated[
    Path | None,
    typer.Option(help="A folder of correlations that `mpcinfer deal` made, instead of a dealer."),
]


class Local(StrEnum):
    """How to run without a server."""

    PLAIN = "plain"
    FIXED = "fixed"
    PRIVATE = "private"
