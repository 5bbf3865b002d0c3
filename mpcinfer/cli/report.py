"""`mpcinfer report`: benchmark records as a page, figures and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    records: Annotated[list[Path], typer.Argument(help="Files of benchmark records, a line of JSON each.")],
    out: Annotated[Path, typer.Option(help="A folder for all that is written.")] = Path("report"),
    title: Annotated[str, typer.Option(help="The page's title.")] = "Private inference, billed",
    published: Annotated[
        Path | None,
        typer.Option(
            help="Published numbers, a list of JSON objects, for a table of their own.",
            show_default="those that come with the package",
        ),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="SVG and PNG files beside the page.")
    ] = True,
) -> None:
    """Make a page, figures and tables of benchmark records.

    report.html needs no network and no other file. On its two sliders, bandwidth and latency, the modelled
    seconds of every record follow. Beside it: every figure as SVG and PNG, every table as CSV, Markdown and
    LaTeX (booktabs).

    What a record has decides what is shown: bytes and rounds by nonlinearity; both against the number of
    tokens, where several lengths were run; perplexity against cost, where it is known; seconds by network,
    where somebody measured. Peers' records and published numbers get tables of their own.

    Modelled seconds are rounds times latency, bytes over bandwidth, and the compute of a run on loopback of
    the same thing; without one, the network's seconds alone.

    Figures need vl-convert: pip install 'mpcinfer\\[report]'.

    [bold]Examples[/bold]

        mpcinfer report records.jsonl

        mpcinfer report mine.jsonl peers.jsonl --out pages/ --title "Two parties, four networks"
    """
    from mpcinfer.benchmark.report.report import write_report
    from mpcinfer.cli.progress import announce

    written = write_report(records, out, title=title, published=published, pictures=pictures, tell=announce)
    typer.echo(written[0])
