"""`mpcinfer doctor`: whether this machine has what a party needs."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape


def doctor(
    key: Annotated[list[Path] | None, typer.Option(help="A .secret or .public file; several.")] = None,
    reach: Annotated[
        list[str] | None,
        typer.Option(metavar="ENDPOINT", help="tcp://host:port of a server or dealer to reach; several."),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(metavar="ENDPOINT", help="tcp://host:port that this party will listen on; several."),
    ] = None,
    folder: Annotated[
        list[Path] | None, typer.Option(help="Where correlations or models will go; several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> None:
    """Say whether this machine has what a party needs, and what to do where it does not.

    Looks at the processor and the kernels for it, compiled code, what each suite needs, memory, the clock and
    disks; and, where asked, at keys, at other parties' ports and at ports of its own. Nothing is changed and
    nothing but connections to the ports named is sent. Status 1 where something failed.

    [bold]Examples[/bold]

        mpcinfer doctor
        mpcinfer doctor --key keys/server.secret --listen tcp://0.0.0.0:7100 --reach tcp://dealer:7101
    """
    from mpcinfer.doctor import Asked, Finding, State, examine

    marks = {State.OK: "[green]ok[/green]     ", State.WARNING: "[yellow]warning[/yellow]"}
    asked = Asked(keys=key or (), endpoints=reach or (), listens=listen or (), folders=folder or ())
    console, findings = Console(highlight=False), list[Finding]()
    for finding in examine(asked):
        findings.append(finding)
        if as_json:
            continue
        mark = marks.get(finding.state, "[bold red]failed[/bold red] ")
        advice = f" [dim]({escape(finding.advice)})[/dim]" if finding.advice else ""
        console.print(f"{mark}  {escape(finding.name)}: {escape(finding.says)}{advice}", soft_wrap=True)
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    if any(finding.state is State.FAILED for finding in findings):
        sys.exit(1)
