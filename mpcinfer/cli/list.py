"""`mpcinfer list`: what there is to choose from, and what it costs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mpcinfer.catalogue.sample import SAMPLE_MODEL, SAMPLE_TOKENS
from mpcinfer.cli.counted import counted
from mpcinfer.cli.models import models
from mpcinfer.suites.entry import Entry

listed = typer.Typer(
    help="List protocols, gates, plans and models, with what they cost.", no_args_is_help=True
)
listed.command("models")(models)

AsJson = Annotated[bool, typer.Option("--json", help="A JSON list instead of a table.")]
SampleModel = Annotated[
    str, typer.Option("--model", help="Count on the shapes of this model's first block: a name or a path.")
]
SampleTokens = Annotated[int, typer.Option("--tokens", min=1, help="Tokens of the one pass counted.")]


@listed.command("protocols")
def protocols(
    suite: Annotated[str | None, typer.Option(help="Of one suite only: fss, crypten or two-party.")] = None,
    model: SampleModel = SAMPLE_MODEL,
    tokens: SampleTokens = SAMPLE_TOKENS,
    as_json: AsJson = False,
) -> None:
    """Every protocol that a plan can name, with security, rounds, bits, error and source.

    Costs are computed from what each protocol declares, on one pass through a block of a model's shape. With
    --set, any of them takes the place of its operation's default; both parties must choose alike.

    [bold]Examples[/bold]

        mpcinfer list protocols --suite fss
        mpcinfer generate "for i in" --local private --plan fss --set maximum=tree
        mpcinfer cost gpt2 --plan fss --set gelu=fine
    """
    from mpcinfer.cli.catalogue_tables import print_protocols

    rows = counted(["protocols", suite, tokens], model, lambda: _documents("protocols", model, tokens, suite))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_protocols([Entry.from_json(row) for row in rows], f"{model}, {tokens} tokens")


@listed.command("gates")
def gates(
    model: SampleModel = SAMPLE_MODEL,
    tokens: SampleTokens = SAMPLE_TOKENS,
    as_json: AsJson = False,
) -> None:
    """Every gate of the suite fss, with rounds and bits: what its protocols are made of."""
    from mpcinfer.cli.catalogue_tables import print_gates

    rows = counted(["gates", tokens], model, lambda: _documents("gates", model, tokens))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_gates([Entry.from_json(row) for row in rows], f"{model}, {tokens} tokens")


@listed.command("plans")
def plans(as_json: AsJson = False) -> None:
    """Every plan, and what it names for each operation; others can be put in with --set.

    [bold]Example[/bold]

        mpcinfer cost gpt2 --plan fss --set exponential=lookup
    """
    from mpcinfer.cli.catalogue_tables import print_plans

    document = counted(["plans"], None, _plans)
    if as_json:
        typer.echo(json.dumps(document["plans"], indent=2))
    else:
        print_plans(document)


def _documents(what: str, model: str, tokens: int, suite: str | None = None) -> list[dict[str, Any]]:
    from mpcinfer.catalogue import listing

    entries = listing.gates(model, tokens) if what == "gates" else listing.protocols(suite, model, tokens)
    return [entry.to_json() for entry in entries]


def _plans() -> dict[str, Any]:
    from mpcinfer.catalogue import listing

    return listing.plans()
