"""`mpcinfer status`: what services on this machine tell about themselves."""

from __future__ import annotations

import dataclasses
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mpcinfer.cli.watched_options import RuntimeDir

if TYPE_CHECKING:
    from mpcinfer.service.status import Health, ServiceStatus
    from mpcinfer.service.status_file import StatusFile

RUNS, NOT_RUNNING, DRAINS = 0, 1, 2
"""Exit statuses."""


class Role(StrEnum):
    """Whose status."""

    SERVER = "server"
    DEALER = "dealer"
    PROXY = "proxy"


def status(
    role: Annotated[Role | None, typer.Argument(help="Of these alone; without it, of all.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the one with this name, the port it listens at.", metavar="NAME")
    ] = None,
    runtime_dir: RuntimeDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="The documents as JSON.")] = False,
) -> None:
    """Say what servers, dealers and proxies that run here tell about themselves.

    Exit status 0: there is one, and all serve. 1: none runs, or one is stale or still starting. 2: one
    drains, and takes no new sessions. What a health check asks.

    [bold]Examples[/bold]

        mpcinfer status
        mpcinfer status server --json
        mpcinfer status dealer --runtime-dir /run/mpcinfer-dealer
    """
    from mpcinfer.service.status import Health
    from mpcinfer.service.status_file import runtime_folder, status_files

    folder = runtime_folder(runtime_dir)
    found = _found(status_files(folder, role.value if role else None), name)
    if as_json:
        print(
            json.dumps([{"health": health, **dataclasses.asdict(each)} for each, health in found], indent=2)
        )
    else:
        _print(found, folder, role)
    healths = {health for _, health in found}
    if not healths or healths & {Health.STALE, Health.STARTING}:
        sys.exit(NOT_RUNNING)
    sys.exit(DRAINS if Health.DRAINING in healths else RUNS)


def _found(files: list[StatusFile], name: str | None) -> list[tuple[ServiceStatus, Health]]:
    """The documents that are still there when they are read, and what they say."""
    documents = [each.read() for each in files]
    return [(each, each.health()) for each in documents if each is not None and name in (None, each.name)]


def _print(found: list[tuple[ServiceStatus, Health]], folder: Path, role: Role | None) -> None:
    console = Console(highlight=False)
    if not found:
        console.print(f"no {role or 'service'} tells anything in {escape(str(folder))}", soft_wrap=True)
    for each, health in found:
        console.print(_table(each, health))


def _table(status: ServiceStatus, health: Health) -> Table:
    """What a person wants to know; what a role does not have is left out."""
    from mpcinfer.cli.tables import human_bytes

    style = {"healthy": "green", "starting": "yellow", "draining": "yellow"}.get(health, "bold red")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row(f"[bold]{status.role}[/bold]", f"[{style}]{health}[/{style}] at {escape(status.endpoint)}")
    refused = ", ".join(f"{count:,} {reason}" for reason, count in status.refusals.items())
    workers = f"{status.workers_busy:,} busy, {status.workers_ready:,} ready"
    workers += f", {status.worker_restarts:,} restarted" if status.worker_restarts else ""
    rows = {
        "process": f"{status.pid}, since {status.since}, version {status.version}",
        "model": f"{status.model}, plan {status.plan}" if status.model else "",
        "digest": status.digest,
        "sessions": f"{status.running:,} running, {status.queued:,} queued, {status.served:,} served, "
        f"{status.failed:,} failed",
        "refused": refused,
        "workers": workers if status.workers_busy or status.workers_ready else "",
        "memory": f"{human_bytes(status.private_bytes)} private, {human_bytes(status.shared_bytes)} shared",
        "dealt ahead": f"{status.bundles_ready:,} sessions, {human_bytes(status.disk_bytes)}"
        if status.bundles_ready or status.disk_bytes
        else "",
        "last error": status.last_error,
        "written": status.written,
    }
    for title, text in rows.items():
        if text:
            table.add_row(f"  {title}", escape(text))
    return table
