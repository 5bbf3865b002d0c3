"""Everything there is to write about a model's head entropies, in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mpcinfer.entropy import plots, tables
from mpcinfer.entropy.curves import EntropyAtStep
from mpcinfer.entropy.measure import HeadEntropies
from mpcinfer.entropy.spectrum import FfnSpectra
from mpcinfer.entropy.summary import summarise


def write_report(
    out: Path,
    found: HeadEntropies,
    curve: Sequence[EntropyAtStep],
    name: str,
    spectra: Sequence[FfnSpectra] = (),
    *,
    pictures: bool = True,
) -> list[str]:
    """Writes heads.csv, bins.csv, heatmap.png and bars.png; of a training run curves.csv and curves.png.

    Args:
        out: the folder, made where absent.
        found: entropies of the heads.
        curve: entropies over training; empty where there was none.
        name: of the model, for titles.
        spectra: of FFNs, for spectra.csv; empty where there are none.
        pictures: PNG files too.

    Returns:
        The names of the files.

    Raises:
        ConfigError: pictures without matplotlib.
    """
    if pictures:
        plots.require_plots()
    out.mkdir(parents=True, exist_ok=True)
    summary = summarise(found)
    tables.write_heads(out / "heads.csv", found)
    tables.write_bins(out / "bins.csv", summary)
    written = ["heads.csv", "bins.csv"]
    if spectra:
        tables.write_spectra(out / "spectra.csv", spectra)
        written.append("spectra.csv")
    if pictures:
        plots.heatmap(out / "heatmap.png", found, f"{name}: entropy of heads, T = {found.tokens}")
        plots.bars(out / "bars.png", summary, f"{name}: {summary.heads} heads, T = {found.tokens}")
        written += ["heatmap.png", "bars.png"]
    if curve:
        tables.write_curves(out / "curves.csv", curve)
        written.append("curves.csv")
        if pictures:
            plots.curves(out / "curves.png", curve, f"{name}: entropy of heads over training")
            written.append("curves.png")
    return written
