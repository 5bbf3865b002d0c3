"""What `mpcinfer entropy` does: measures, prints, and writes files and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mpcinfer.entropy.curves import entropy_curve
from mpcinfer.entropy.held_out import held_out_tokens, is_run
from mpcinfer.entropy.measure import HeadEntropies
from mpcinfer.entropy.plots import can_draw, how_to_draw, require_plots
from mpcinfer.entropy.report import write_report
from mpcinfer.entropy.spectrum import FfnSpectra, ffn_spectra
from mpcinfer.entropy.summary import summarise
from mpcinfer.models.load import load_model
from mpcinfer.training.batches import consecutive_batches
from mpcinfer.training.data import PYTHON
from mpcinfer.training.log import FILE, read_log
from mpcinfer.training.losses import measured_entropies
from mpcinfer.training.options import FOLDER
from parties.errors import ConfigError


def show_entropies(
    model: str, data: str | None, out: Path | None, windows: int, tokens: int | None, *, pictures: bool | None
) -> None:
    """Measures a model's heads; arguments are those of the command."""
    if out is not None and pictures:  # asked for: better no minutes of measuring before it fails
        require_plots()
    console = Console(highlight=False)
    found, spectra = _measured(model, data, windows, tokens)
    console.print(_table(found))
    for line in summarise(found).describe():
        console.print(line)
    if spectra:
        console.print(_spectra_table(spectra))
    if out is None:
        return
    curve = entropy_curve(read_log(Path(model) / FOLDER)) if (Path(model) / FOLDER / FILE).exists() else []
    drawn = can_draw() if pictures is None else pictures
    names = write_report(out, found, curve, Path(model).name, spectra, pictures=drawn)
    console.print(f"written to {out}: {', '.join(names)}", markup=False)
    if pictures is None and not drawn:
        console.print(f"tables alone; {how_to_draw()}", markup=False, soft_wrap=True)


def _measured(
    name: str, data: str | None, windows: int, tokens: int | None
) -> tuple[HeadEntropies, list[FfnSpectra]]:
    loaded = load_model(name)
    source = data if data is not None else name if is_run(Path(name)) else PYTHON
    length = min(256, loaded.config.context) if tokens is None else tokens
    if length > loaded.config.context:
        raise ConfigError(f"{length} tokens do not fit the context of {loaded.config.context}")
    stream = held_out_tokens(loaded, source)
    if len(stream) <= 2:
        raise ConfigError(f"{source}: {len(stream)} tokens are too few to look at")
    batches = list(consecutive_batches(stream, 8, length, windows))
    entropies = measured_entropies(loaded.config, loaded.weights, batches)
    return entropies, ffn_spectra(loaded.config, loaded.weights, (inputs for inputs, _ in batches))


def _spectra_table(spectra: Sequence[FfnSpectra]) -> Table:
    """Layers downwards: spectral entropy in nats, participation ratio and early enrichment around each FFN's
    nonlinearity, and the Jensen-Shannon divergence of the two spectra."""
    table = Table(box=None, header_style="bold")
    names = ("spectral entropy, before", "participation ratio, before", "early enrichment, before")
    for column in ("FFN of layer", *(each for name in names for each in (name, "after")), "JS divergence"):
        table.add_column(column, justify="right")
    for each in spectra:
        both = (each.before, each.after)
        entropies, ratios = (
            (f"{one.entropy:.2f}" for one in both),
            (f"{one.participation:.1f}" for one in both),
        )
        enrichments = (f"{one.enrichment:.2f}" for one in both)
        table.add_row(str(each.layer), *entropies, *ratios, *enrichments, f"{each.divergence:.3f}")
    return table


def _table(found: HeadEntropies) -> Table:
    """Layers downwards, heads to the right, entropies in nats."""
    table = Table(box=None, header_style="bold")
    for column in ("layer", *(str(head) for head in range(found.entropy.shape[1]))):
        table.add_column(column, justify="right", no_wrap=True)
    for layer, heads in enumerate(found.entropy):
        table.add_row(str(layer), *(f"{float(value):.2f}" for value in heads))
    return table
