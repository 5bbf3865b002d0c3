"""`mpcinfer dealer status --store FOLDER`: what a dealer's store has, for whom, and what became of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mpcinfer.cli.settings import ServiceCommand
from mpcinfer.cli.tables import human_bytes

if TYPE_CHECKING:
    from mpcinfer.service.dealing.status import Counts, DealerStatus

_STATES = ("ready", "dealing", "taken", "spent", "expired", "lost")
_NAME = "status"


class DealerCommand(ServiceCommand):
    """`mpcinfer dealer`, which deals, and `status` under it, which needs none of its options."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """What is run: see `ServiceCommand`."""
        if args[:1] == [_NAME]:
            return typer.main.get_command(_app).make_context(
                f"{info_name} {_NAME}", args[1:], parent, **extra
            )
        return super().make_context(info_name, args, parent, **extra)


def status(
    store: Annotated[Path, typer.Option(help="The dealer's store, as it was given to `mpcinfer dealer`.")],
) -> None:
    """Show what a dealer's store has, for whom, and what became of the rest in the last 30 days.

    It may be asked for while the dealer runs, and changes nothing.

    [bold]Example[/bold]

        mpcinfer dealer status --store correlations
    """
    from mpcinfer.service.dealing.store import status_of

    print_status(Console(highlight=False), status_of(store), time.time())


_app = typer.Typer(rich_markup_mode="rich", add_completion=False)
_app.command()(status)


def print_status(console: Console, shown: DealerStatus, now: float) -> None:
    """The tables, to a terminal."""
    quota = (
        "no quota" if shown.quota_bytes is None else f"{human_bytes(shown.quota_bytes)} a client in 24 hours"
    )
    console.print(
        f"{human_bytes(shown.held_bytes)} of {human_bytes(shown.budget_bytes)} on disk; {quota}; bundles are "
        f"kept for {_age(shown.expiry_s)}; the last was dealt {_ago(shown.refilled, now)}",
        soft_wrap=True,
    )
    if shown.pairs:
        console.print(_pairs(shown))
    if shown.kinds:
        console.print(_kinds(shown))
    for at, text in shown.notes:
        console.print(f"{_ago(at, now)}: {escape(text)}", soft_wrap=True)


def _pairs(shown: DealerStatus) -> Table:
    table = _table("Pairs", "client", "server", "on disk", "in 24 hours", *_STATES)
    for pair in shown.pairs:
        table.add_row(
            escape(pair.name or _short(pair.client)),
            escape(_short(pair.server)),
            human_bytes(pair.held_bytes),
            human_bytes(pair.today_bytes),
            *_cells(pair.bundles),
        )
    return table


def _kinds(shown: DealerStatus) -> Table:
    table = _table("Kinds of conversations", "client", "plan", "program", "passes", "target", *_STATES)
    for kind in shown.kinds:
        steps = kind.schedule
        then = "" if steps.passes == 1 else f" + {steps.passes - 1} x {steps.then_tokens}"
        table.add_row(
            escape(kind.name or _short(kind.client)),
            escape(kind.plan),
            kind.program[:8],
            f"{steps.tokens}{then}",
            str(kind.target),
            *_cells(kind.bundles),
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=None)
    for column in columns:
        table.add_column(column, justify="left" if column in ("client", "server", "plan") else "right")
    return table


def _cells(bundles: Counts) -> list[str]:
    return [str(bundles.get(state) or "") for state in _STATES]


def _short(key: str) -> str:
    """The beginning of a public key."""
    return f"{key[:8]}..."


def _ago(at: float | None, now: float) -> str:
    return "never" if at is None else f"{_age(max(now - at, 0.0))} ago"


def _age(seconds: float) -> str:
    """A time with one unit: 40 s, 5 min, 3 h, 7 days."""
    for unit, size in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
