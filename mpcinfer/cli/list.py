"""`mpcinfer list`: what there is to choose from, and what it costs."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from mpcinfer.catalogue.sample import SAMPLE_MODEL, SAMPLE_TOKENS
from mpcinfer.cli.models import models

listed = typer.Typer(
    help="List protocols, gates, plans and models, with what they cost.", no_args_is_help=True
)
listed.command("models")(models)

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
    model: SampleModel = SAMPLE_MODEL,
    tokens: SampleTokens = SAMPLE_TOKENS,
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
    from mpcinfer.catalogue import listing
    from mpcinfer.cli.catalogue_tables import print_protocols

    entries = listing.protocols(None if engine is None else engine.value, model, tokens)
    if as_json:
        typer.echo(json.dumps([listing.to_json(entry) for entry in entries], indent=2))
    else:
        print_protocols(entries, f"{model}, {tokens} tokens")


@listed.command("gates")
def gates(
    model: SampleModel = SAMPLE_MODEL,
    tokens: SampleTokens = SAMPLE_TOKENS,
    as_json: AsJson = False,
) -> None:
    """Every gate of the engine fss, with rounds and bits: what its protocols are made of."""
    from mpcinfer.catalogue import listing
    from mpcinfer.cli.catalogue_tables import print_gates

    entries = listing.gates(model, tokens)
    if as_json:
        typer.echo(json.dumps([listing.to_json(entry) for entry in entries], indent=2))
    else:
        print_gates(entries, f"{model}, {tokens} tokens")


@listed.command("plans")
def plans(as_json: AsJson = False) -> None:
    """Every plan, and what it names for each operation; others can be put in with --set.

    [bold]Example[/bold]

        mpcinfer cost gpt2 --plan fss --set exponential=lookup
    """
    from mpcinfer.cli.catalogue_tables import print_plans
    from protocols.registry import PLANS

    if as_json:
        rows = [
            {"name": plan.name, "engine": plan.engine, "digest": plan.digest(), "choices": plan.choices}
            for plan in PLANS.values()
        ]
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_plans()
