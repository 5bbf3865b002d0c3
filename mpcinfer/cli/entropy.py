"""`mpcinfer entropy`: how widely a model's heads spread their attention, and whether that is healthy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mpcinfer.entropy.curves import entropy_curve
from mpcinfer.entropy.held_out import held_out_tokens, is_run
from mpcinfer.entropy.measure import HeadEntropies
from mpcinfer.entropy.plots import require_plots
from mpcinfer.entropy.report import write_report
from mpcinfer.entropy.summary import summarise
from mpcinfer.models.load import load_model
from mpcinfer.training.batches import consecutive_batches
from mpcinfer.training.data import PYTHON
from mpcinfer.training.log import FILE, read_log
from mpcinfer.training.losses import measured_entropies
from mpcinfer.training.options import FOLDER
from parties.errors import ConfigError


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
    pictures: Annotated[bool, typer.Option(help="PNG files beside the CSV files.")] = True,
) -> None:
    """Measure the entropy of every attention head over held-out text.

    A head whose entropy is near the most that a causal head can have, ln(T!)/T, does not select: entropic
    overload. A head near zero looks at one token: entropy collapse. NaN is counted apart from both. The bins
    of the papers are relative to the largest entropy observed; overload and collapse are absolute.

    With --out: heads.csv, bins.csv, heatmap.png and bars.png; for a training run curves.csv and curves.png
    too, from its log. Pictures need matplotlib: pip install 'mpcinfer[plots]'.

        mpcinfer entropy tiny-python --data notes.txt

        mpcinfer entropy runs/norm-free --out plots/
    """
    if out is not None and pictures:
        require_plots()
    console = Console(highlight=False)
    found = _measured(model, data, windows, tokens)
    console.print(_table(found))
    for line in summarise(found).describe():
        console.print(line)
    if out is None:
        return
    curve = entropy_curve(read_log(Path(model) / FOLDER)) if (Path(model) / FOLDER / FILE).exists() else []
    names = write_report(out, found, curve, Path(model).name, pictures=pictures)
    console.print(f"written to {out}: {', '.join(names)}", markup=False)


def _measured(name: str, data: str | None, windows: int, tokens: int | None) -> HeadEntropies:
    loaded = load_model(name)
    source = data if data is not None else name if is_run(Path(name)) else PYTHON
    length = min(256, loaded.config.context) if tokens is None else tokens
    if length > loaded.config.context:
        raise ConfigError(f"{length} tokens do not fit the context of {loaded.config.context}")
    stream = held_out_tokens(loaded, source)
    if len(stream) <= 2:
        raise ConfigError(f"{source}: {len(stream)} tokens are too few to look at")
    batches = consecutive_batches(stream, 8, length, windows)
    return measured_entropies(loaded.config, loaded.weights, batches)


def _table(found: HeadEntropies) -> Table:
    """Layers downwards, heads to the right, entropies in nats."""
    table = Table(box=None, header_style="bold")
    for column in ("layer", *(str(head) for head in range(found.entropy.shape[1]))):
        table.add_column(column, justify="right", no_wrap=True)
    for layer, heads in enumerate(found.entropy):
        table.add_row(str(layer), *(f"{float(value):.2f}" for value in heads))
    return table
