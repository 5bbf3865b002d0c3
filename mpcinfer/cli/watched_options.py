"""Options of commands that run for long: how they are watched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.service.logs import LogKind, LogLevel
from mpcinfer.service.status_file import VARIABLE

PANEL = "Watching it"
Log = Annotated[
    LogKind,
    typer.Option(
        "--log",
        rich_help_panel=PANEL,
        help="How the log looks: 'json', an object a line; 'console', for people; 'lines', without time and "
        "fields; 'auto', console on a terminal and json elsewhere.",
    ),
]
Level = Annotated[
    LogLevel,
    typer.Option("--log-level", rich_help_panel=PANEL, help="What is logged: this and what is worse."),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file",
        rich_help_panel=PANEL,
        metavar="FILE",
        help="Where the log goes, at its end; standard error without it.",
    ),
]
MetricsAt = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        rich_help_panel=PANEL,
        metavar="HOST:PORT",
        help="Counters for Prometheus, at /metrics, such as 127.0.0.1:9464; whoever reaches it reads them.",
    ),
]
RuntimeDir = Annotated[
    Path | None,
    typer.Option(
        "--runtime-dir",
        rich_help_panel=PANEL,
        envvar=VARIABLE,
        metavar="FOLDER",
        help="Where the status document lies that `mpcinfer status` reads.",
        show_default="systemd's RUNTIME_DIRECTORY, or one of the user's own",
    ),
]
