"""`mpcinfer list`: what there is to choose from, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mpcinfer.catalogue import listing
from mpcinfer.catalogue.entry import Entry
from mpcinfer.cli.models import models
from protocols.registry import ENGINES, PLANS

listed = typer.Typer(
    help="List protocols, gates, plans and models, with what they cost.", no_args_is_help=True
)
listed.command("models")(models)

_WIDE = 110
"""Columns of a terminal from which on sources stand in the table."""

AsJson = Annotated[bool, typer.Option("--json", help="A JSON list instead of a table.")]
SampleModel = Annotated[
    str, typer.Option("--model", help="Count on the shapes of this model's first block: a name or a path.")
]
SampleTokens = Annotated[int, typer.Option("--tokens", min=1, help="Tokens of the one pass counted.")]


class Engine(StrEnum):
    """Whose protocols to list."""

    FSS = "fss"
    CRYPTEN = "crypten"


@listed.command("protocols")
def protocols(
    engine: Annotated[Engine | None, typer.Option(help="Of one engine only.")] = None,
    model: SampleModel = listing.SAMPLE_MODEL,
    tokens: SampleTokens = listing.SAMPLE_TOKENS,
    as_json: AsJson = False,
) -> None:
    """Every protocol that a plan can name, with security, rounds, bits, error and source.

    Costs are computed from what each protocol declares, on one pass through a block of a model's shape. With
    --set, any of them takes the place of its operation's default; both parties must choose alike.

    [bold]Examples[/bold]

        mpcinfer list protocols --engine fss
        mpcinfer generate "for i in" --local private --plan fss --set maximum=tree
        mpcinfer cost gpt2 --plan fss --set gelu=fine
    """
    entries = listing.protocols(None if engine is None else engine.value, model, tokens)
    if as_json:
        typer.echo(json.dumps([listing.to_json(entry) for entry in entries], indent=2))
        return
    console = Console(highlight=False)
    for name in dict.fromkeys(entry.engine for entry in entries):
        these = [entry for entry in entries if entry.engine == name]
        console.print(protocol_table(name, these, sources=console.width >= _WIDE))
        console.print()
    _print_legend(console, entries, f"{model}, {tokens} tokens")
    if console.width < _WIDE:
        _print_sources(console, entries)


@listed.command("gates")
def gates(
    model: SampleModel = listing.SAMPLE_MODEL,
    tokens: SampleTokens = listing.SAMPLE_TOKENS,
    as_json: AsJson = False,
) -> None:
    """Every gate of the engine fss, with rounds and bits: what its protocols are made of."""
    entries = listing.gates(model, tokens)
    if as_json:
        typer.echo(json.dumps([listing.to_json(entry) for entry in entries], indent=2))
        return
    console = Console(highlight=False)
    table = _costs_table("gates of the engine fss", ("gate", "what it computes"))
    for entry in entries:
        table.add_row(entry.name, escape(entry.summary), *cost_cells(entry))
    console.print(table)
    console.print()
    _print_legend(console, entries, f"{model}, {tokens} tokens")


@listed.command("plans")
def plans(as_json: AsJson = False) -> None:
    """Every plan, and what it names for each operation; others can be put in with --set.

    [bold]Example[/bold]

        mpcinfer cost gpt2 --plan fss --set exponential=lookup
    """
    if as_json:
        rows = [
            {"name": plan.name, "engine": plan.engine, "digest": plan.digest(), "choices": plan.choices}
            for plan in PLANS.values()
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    console = Console(highlight=False)
    for engine, operations in ENGINES.items():
        named = [plan for plan in PLANS.values() if plan.engine == engine]
        table = Table(title=f"engine {engine}", title_justify="left", header_style="bold", box=None)
        for heading in ("operation", *(plan.name for plan in named), "others"):
            table.add_column(heading)
        for operation, known in operations.items():
            used = [plan.choices[operation] for plan in named]
            others = ", ".join(name for name in known if name not in used)
            table.add_row(operation, *used, others)
        console.print(table)
        console.print()


def protocol_table(engine: str, entries: Sequence[Entry], *, sources: bool = True) -> Table:
    """One engine's protocols, operation by operation; sources take a wide terminal."""
    table = _costs_table(f"protocols of the engine {engine}", ("operation", "name"))
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
    return "-" if not (to_server or to_client) else f"{_bits(to_server)} / {_bits(to_client)}"


def _bits(bits: float) -> str:
    """Whole bits from a hundred on, and where it comes out even."""
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
