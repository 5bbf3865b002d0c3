"""`mpcinfer entropy`: how widely a model's heads spread their attention, and whether that is healthy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def entropy(
    model: Annotated[str, typer.Argument(help="A name from `mpcinfer models`, a path, or a training run.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="Text: a file, a folder, 'python', or the folder of a run. Of folders and 'python' the part "
            "that training holds out.",
            show_default="the run's own held-out text; 'python' for a model without a run",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder for CSV files and pictures; none are written without it.")
    ] = None,
    windows: Annotated[int, typer.Option(min=1, help="Windows of text to look at.")] = 32,
    tokens: Annotated[
        int | None, typer.Option(min=2, help="Tokens a window.", show_default="the context, at most 256")
    ] = None,
    pictures: Annotated[
        bool | None,
        typer.Option(
            "--pictures/--no-pictures",
            help="PNG files beside the CSV files.",
            show_default="where matplotlib is installed",
        ),
    ] = None,
) -> None:
    """Measure the entropy of every attention head over held-out text.

    A head whose entropy is near the most that a causal head can have, ln(T!)/T, does not select: entropic
    overload. A head near zero looks at one token: entropy collapse. NaN is counted apart from both. The bins
    of the papers are relative to the largest entropy observed; overload and collapse are absolute.

    Of every FFN: spectral entropy, participation ratio and early enrichment of its hidden numbers before and
    after the nonlinearity, how many directions it uses, and how far the two spectra are apart (NerVE).

    With --out: heads.csv, bins.csv, spectra.csv, heatmap.png, bars.png; for a training run curves.csv
    and curves.png too, from its log. Pictures need matplotlib: pip install 'mpcinfer\\[plots]'.

        mpcinfer entropy tiny-python --data notes.txt

        mpcinfer entropy norm-free --out plots/
    """
    from mpcinfer.cli.entropies import show_entropies

    show_entropies(model, data, out, windows, tokens, pictures=pictures)
