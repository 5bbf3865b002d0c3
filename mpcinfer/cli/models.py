"""`mpcinfer models`: what can be run and what can be billed."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mpcinfer.models.zoo import zoo


def models(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list instead of a table.")] = False,
) -> None:
    """List the models known by name.

    Models with weights can be run (`generate`, `serve`); of the others only the shape is known, and `cost`
    bills them. Wherever a name is expected, a path works too: a model folder of ours, a Hugging Face folder
    (GPT-2 or Llama family, safetensors) or a .gguf file.
    """
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
    for name in ("name", "weights", "parameters", "layers", "width", "context", "description"):
        right = name in ("parameters", "layers", "width", "context")
        table.add_column(name, justify="right" if right else "left", no_wrap=name == "name")
    for entry in entries:
        config = entry.config
        table.add_row(
            entry.name,
            "yes" if entry.has_weights else "",
            f"{config.parameters:,}",
            str(config.layers),
            str(config.width),
            str(config.context),
            entry.description,
        )
    Console().print(table)
