"""Head entropies as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from mpcinfer.entropy.curves import EntropyAtStep
from mpcinfer.entropy.measure import HeadEntropies
from mpcinfer.entropy.spectrum import FfnSpectra
from mpcinfer.entropy.summary import EntropySummary, summarise

QUARTERS = ("0 to 1/4 of largest", "1/4 to 1/2 of largest", "1/2 to 3/4 of largest", "3/4 to largest")


def write_heads(path: Path, entropies: HeadEntropies) -> None:
    """A row a head: entropy (nats), as a share of the causal bound and of the largest observed, NaN rows."""
    summary = summarise(entropies)
    rows: list[Sequence[object]] = []
    for layer, heads in enumerate(entropies.entropy):
        for head, value in enumerate(map(float, heads)):
            of_largest = value / summary.largest if summary.largest else 0.0
            nans = float(entropies.nan_fraction[layer, head])
            rows.append([layer, head, *map(_digits, (value, value / summary.bound, of_largest, nans))])
    _write(path, ["layer", "head", "entropy", "of_bound", "of_largest", "nan_fraction"], rows)


def write_spectra(path: Path, spectra: Sequence[FfnSpectra]) -> None:
    """A row an FFN: spectral entropy (nats), participation ratio and early enrichment before and after its
    nonlinearity, and how far the two spectra are apart (Jensen-Shannon divergence, nats)."""
    names = ("entropy", "participation", "enrichment")
    header = ["layer", *(f"{name}_{when}" for name in names for when in ("before", "after")), "divergence"]
    rows: list[Sequence[object]] = []
    for each in spectra:
        pairs = [getattr(one, name) for name in names for one in (each.before, each.after)]
        rows.append([each.layer, *map(_digits, [*pairs, each.divergence])])
    _write(path, header, rows)


def write_bins(path: Path, summary: EntropySummary) -> None:
    """A row a bin: its share of heads; the papers' quarters, then the absolute bins, then NaN."""
    _write(path, ["bin", "share"], [[name, _digits(share)] for name, share in named_shares(summary)])


def named_shares(summary: EntropySummary) -> list[tuple[str, float]]:
    """Every bin by name, and its share of heads."""
    return [
        *zip(QUARTERS, summary.quarters, strict=True),
        ("entropic overload", summary.overloaded),
        ("entropy collapse", summary.collapsed),
        ("NaN", summary.nan_heads),
    ]


def write_curves(path: Path, curve: Iterable[EntropyAtStep]) -> None:
    """A row a step and layer: mean entropy of its heads (nats) and the share of rows with NaN."""
    rows = [
        [point.step, layer, _digits(mean), _digits(nans)]
        for point in curve
        for layer, (mean, nans) in enumerate(zip(point.layer_means(), point.layer_nans(), strict=True))
    ]
    _write(path, ["step", "layer", "mean_entropy", "nan_fraction"], rows)


def _digits(value: float) -> str:
    return f"{value:.6g}"


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
