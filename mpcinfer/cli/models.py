"""`mpcinfer models`: what can be run and what can be billed."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def models(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list instead of a table.")] = False,
    names: Annotated[
        bool, typer.Option("--variants", help="The architectures that `train` and `cost` compare, by name.")
    ] = False,
) -> None:
    """List the models known by name.

    Models with weights can be run (`generate`, `serve`); of the others only the shape is known, and `cost`
    bills them. Wherever a name is expected, a path works too: a model folder of ours, a Hugging Face folder
    (GPT-2, Llama family, BERT; safetensors) or a .gguf file.
    """
    from mpcinfer.models.zoo import zoo

    if names:
        _list_variants(as_json)
        return
    entries = list(zoo().values())
    if as_json:
        rows = [
            {
                "name": entry.name,
                "weights": entry.has_weights,
                "parameters": entry.config.parameters,
                "description": entry.description,
                "config": entry.config.to_json(),
            }
            for entry in entries
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(header_style="bold", box=None)
    for name in ("name", "run", "size", "layers", "width", "heads", "context"):
        table.add_column(name, justify="left" if name in ("name", "run") else "right", no_wrap=True)
    for entry in entries:
        config = entry.config
        table.add_row(
            entry.name,
            "yes" if entry.has_weights else "",
            _size(config.parameters),
            *(str(number) for number in (config.layers, config.width, config.heads, config.context)),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print("\nrun: the weights are on this machine. Of the others the shape is known, for `cost`.")
    for entry in entries:
        if entry.command and not entry.has_weights:
            console.print(f"{entry.name}: {entry.description}")


def _list_variants(as_json: bool) -> None:
    """Names of architectures and what they are."""
    from mpcinfer.models.variants import variants

    if as_json:
        rows = [{"name": each.name, "description": each.description} for each in variants()]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("variant", "what it is", header_style="bold", box=None)
    for each in variants():
        table.add_row(each.name, each.description)
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "\nAny case and any signs: sm-scfuffn. _i{k} at the end prunes the k deepest FFNs: SM+ScFuFFN_i6. "
        "Attention of another kind goes first: power4+SM+ScFuFFN."
    )


def _size(parameters: int) -> str:
    """Parameters in millions or billions."""
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.0f} M"
