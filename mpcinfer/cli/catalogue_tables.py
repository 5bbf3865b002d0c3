"""Protocols, gates and plans as tables in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mpcinfer.suites.entry import Entry

_WIDE = 110
"""Columns of a terminal from which on sources stand in the table."""


def print_protocols(entries: Sequence[Entry], sample: str) -> None:
    """A table a suite, and what its columns mean.

    Args:
        sample: what costs were counted on.
    """
    console = Console(highlight=False)
    for name in dict.fromkeys(entry.suite for entry in entries):
        these = [entry for entry in entries if entry.suite == name]
        console.print(protocol_table(name, these, sources=console.width >= _WIDE))
        console.print()
    _print_legend(console, entries, sample)
    if console.width < _WIDE:
        _print_sources(console, entries)


def print_gates(entries: Sequence[Entry], sample: str) -> None:
    """One table, likewise."""
    console = Console(highlight=False)
    table = _costs_table("gates", ("gate", "what it computes"))
    for entry in entries:
        table.add_row(entry.name, escape(entry.summary), *cost_cells(entry))
    console.print(table)
    console.print()
    _print_legend(console, entries, sample)


def print_plans(document: Mapping[str, Any]) -> None:
    """A table a suite: what each plan names for each operation, from `catalogue.listing.plans`."""
    console = Console(highlight=False)
    for suite, operations in document["known"].items():
        named = [plan for plan in document["plans"] if plan["suite"] == suite]
        table = Table(title=f"suite {suite}", title_justify="left", header_style="bold", box=None)
        for heading in ("operation", *(plan["name"] for plan in named), "others"):
            table.add_column(heading)
        for operation, known in operations.items():
            used = [plan["choices"][operation] for plan in named]
            others = ", ".join(name for name in known if name not in used)
            table.add_row(operation, *used, others)
        console.print(table)
        console.print()


def protocol_table(suite: str, entries: Sequence[Entry], *, sources: bool = True) -> Table:
    """One suite's protocols, operation by operation; sources take a wide terminal."""
    table = _costs_table(f"protocols of the suite {suite}", ("operation", "name"))
    table.add_column("error", justify="right", no_wrap=True)
    if sources:
        table.add_column("source", overflow="fold")
    before = ""
    for entry in entries:
        operation = "" if entry.operation == before else entry.operation
        error = "" if entry.error is None else str(entry.error)
        source = [escape(entry.source)] if sources else []
        table.add_row(operation, entry.name, *cost_cells(entry), error, *source)
        before = entry.operation
    return table


def cost_cells(entry: Entry) -> tuple[str, str, str, str]:
    """Rounds, online and offline bits to server and client, and what they are counted for."""
    cost = entry.cost
    return (
        str(cost.rounds),
        _both(cost.online_bits_to_server, cost.online_bits_to_client),
        _both(cost.offline_bits_to_server, cost.offline_bits_to_client),
        cost.element,
    )


def _costs_table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=None, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=heading != "what it computes")
    table.add_column("rounds", justify="right", no_wrap=True)
    table.add_column("online", justify="right", no_wrap=True)
    table.add_column("offline", justify="right", no_wrap=True)
    table.add_column("per", no_wrap=True)
    return table


def _both(to_server: float, to_client: float) -> str:
    return "-" if not (to_server or to_client) else f"{_bits(to_server)}/{_bits(to_client)}"


def _bits(bits: float) -> str:
    """Whole bits from a hundred on, and where it comes out even; `k` are thousands, from a million on."""
    if bits >= 1e6:
        return f"{bits / 1e3:,.0f}k"
    return f"{bits:,.0f}" if bits >= 100 else f"{bits:,.1f}".removesuffix(".0")


def _print_legend(console: Console, entries: Sequence[Entry], sample: str) -> None:
    console.print(
        f"counted on a block of {sample}; bits to the server / to the client, rounds of the whole sample"
    )
    for security in dict.fromkeys(entry.security for entry in entries):
        these = [entry for entry in entries if entry.security == security]
        who = "all" if len(these) == len(entries) else ", ".join(f"{e.operation}={e.name}" for e in these)
        console.print(f"security of {who}: {security}", markup=False)
    for entry in entries:
        if entry.reveals:
            console.print(f"{entry.operation}={entry.name}: {entry.reveals}", style="yellow", markup=False)


def _print_sources(console: Console, entries: Sequence[Entry]) -> None:
    """Every source once, with what comes from it."""
    for source in dict.fromkeys(entry.source for entry in entries if entry.source):
        names = dict.fromkeys(f"{e.operation}={e.name}" for e in entries if e.source == source)
        console.print(f"source of {', '.join(names)}: {source}", markup=False)
