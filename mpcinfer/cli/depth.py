"""`mpcinfer cost MODEL --plan poly --depth`: what a homomorphic evaluation would take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from mpcinfer.cli.counted import counted
from mpcinfer.models.depth import DepthReport, DepthRow
from mpcinfer.plans import named_plan


def print_depth(
    model: str, *, tokens: int, plan: str, choices: Sequence[str] | None, part: str, as_json: bool
) -> None:
    """Prints the report, or its JSON; counted answers are kept as those of `cost` are.

    Raises:
        ConfigError, RangeError: see `mpcinfer.depths.depth`.
    """
    settings: dict[str, Any] = {"tokens": tokens, "plan": plan, "choices": choices, "part": part}
    question = ["depth", named_plan(plan).digest(), *settings.items()]
    report = DepthReport.from_json(counted(question, model, lambda: _count(model, settings)))
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
        return
    console = Console()
    console.print(f"{model}, {tokens} tokens, plan {plan}, part {part}: counted, not run", style="bold")
    console.print(_table("Levels and operations, by part", report.parts, report.total, depths=True))
    console.print()
    console.print(_table("Operations, by kind", report.kinds, report.total, depths=False))
    console.print(
        f"Ciphertexts of {report.slots:,} numbers. Depth counts products of ciphertexts, levels those by "
        "plaintexts too. Changes of layout and bootstrapping are not counted; the formulas are in "
        "docs/polynomial.md.",
        style="dim",
    )


def _count(model: str, settings: dict[str, Any]) -> dict[str, Any]:
    from mpcinfer.depths import depth

    return depth(model, **settings).to_json()


def _table(title: str, rows: Sequence[DepthRow], total: DepthRow, *, depths: bool) -> Table:
    table = Table(title=title, title_justify="left", show_footer=True, header_style="bold", box=None)
    table.add_column("", footer="total", no_wrap=True)
    names = ["depth", "levels"] if depths else []
    names += ["products", "plain_products", "rotations"]
    for name in names:
        table.add_column(name.replace("_", " "), footer=f"{getattr(total, name):,}", justify="right")
    for row in rows:
        table.add_row(row.name, *(f"{getattr(row, name):,}" for name in names))
    return table
