"""`mpcinfer calibrate`: the ranges that a private run of a model must be ready for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def calibrate(
    model: Annotated[str, typer.Argument(help="A name from `mpcinfer models`, or a path.")],
    out: Annotated[Path, typer.Option(help="The file to write; ranges.json inside the model's folder.")],
    prompts: Annotated[
        Path, typer.Option(help="A text file; blank lines separate the sample prompts.", exists=True)
    ],
) -> None:
    """Run the float model on sample prompts and record how large its values get.

    A private run sizes its rings and tables by these ranges, with a margin. They are public: both parties
    must have the same. What the weights alone say, such as the largest number of any token's row, is taken
    from them. For the rest take prompts like those that will be asked: a value beyond its range makes an
    answer wrong without warning, because nobody can look at it; `generate --check-ranges` tells the client.
    """
    from mpcinfer.cli.texts import sample_prompts
    from mpcinfer.models.load import load_model
    from mpcinfer.models.ranges import calibrate as calibrate_model
    from mpcinfer.models.stored_ranges import save_ranges

    texts = sample_prompts(prompts)
    ranges = calibrate_model(load_model(model), texts)
    save_ranges(out, ranges)
    table = Table("largest values", "", box=None, header_style="bold")
    for key, value in sorted(ranges.items(), key=lambda item: -item[1])[:10]:
        table.add_row(key, f"{value:,.3g}")
    Console().print(table)
    Console().print(f"{len(ranges)} ranges from {len(texts)} prompts written to {out}")
