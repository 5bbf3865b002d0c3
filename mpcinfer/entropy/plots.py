"""Head entropies as pictures: heatmap, bars, curves."""

# matplotlib's own annotations leave most arguments open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import importlib.util
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mpcinfer.entropy.curves import EntropyAtStep
from mpcinfer.entropy.measure import HeadEntropies, causal_bound
from mpcinfer.entropy.summary import EntropySummary
from mpcinfer.entropy.tables import named_shares
from parties.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CALM, _WARM, _COLD, _GREY = "#4c72b0", "#c44e52", "#55a3c4", "#8c8c8c"


def how_to_draw() -> str:
    """What a user types who has no matplotlib, for the Python that runs this."""
    return f"pictures need matplotlib: {shlex.quote(sys.executable)} -m pip install 'mpcinfer[plots]'"


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def require_plots() -> None:
    """Raises ConfigError where matplotlib is not installed."""
    if not can_draw():
        raise ConfigError(f"{how_to_draw()}, or ask for tables alone")


def heatmap(path: Path, entropies: HeadEntropies, title: str) -> None:
    """Entropy by layer (downwards) and head, in nats, each cell with its number; NaN is grey and says so."""
    from matplotlib import colormaps

    layers, heads = entropies.entropy.shape
    bound = causal_bound(entropies.tokens)
    sheet = figure(2.4 + 0.55 * heads, 1.5 + 0.36 * layers)
    axes = sheet.add_subplot()
    colours = colormaps["viridis"].with_extremes(bad="#d0d0d0")
    image = axes.imshow(entropies.entropy.numpy(), cmap=colours, vmin=0, vmax=bound, aspect="auto")
    for layer in range(layers):
        for head in range(heads):
            value = float(entropies.entropy[layer, head])
            light = math.isnan(value) or value > 0.65 * bound
            text = "NaN" if math.isnan(value) else f"{value:.2f}"
            colour = "black" if light else "white"
            axes.text(head, layer, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(heads))
    axes.set_yticks(range(layers))
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.set_title(title, fontsize=10)
    sheet.colorbar(image, label=f"entropy, nats (bound {bound:.2f})")
    sheet.savefig(path, dpi=150)


def bars(path: Path, summary: EntropySummary, title: str) -> None:
    """Shares of heads: quarters of the largest entropy observed, then the absolute bins and NaN."""
    shares = named_shares(summary)
    sheet = figure(7.5, 3.4)
    axes = sheet.add_subplot()
    colours = [_CALM] * 4 + [_WARM, _COLD, _GREY]
    places = [0, 1, 2, 3, 4.5, 5.5, 6.5]
    drawn = axes.bar(places, [100 * share for _, share in shares], color=colours, width=0.75)
    axes.bar_label(drawn, fmt="%.0f%%", fontsize=9, padding=2)
    axes.set_xticks(
        places,
        [
            name.replace(" of ", "\nof ").replace("entropic ", "entropic\n").replace("entropy ", "entropy\n")
            for name, _ in shares
        ],
    )
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(0, 112)
    axes.set_ylabel("heads, %")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    sheet.savefig(path, dpi=150)


def curves(path: Path, curve: Sequence[EntropyAtStep], title: str) -> None:
    """Over training steps: mean entropy of each layer's heads; shares of overloaded, collapsed, NaN heads."""
    from matplotlib import colormaps

    steps = [point.step for point in curve]
    layers = len(curve[0].layer_means())
    sheet = figure(10.0, 3.8)
    left, right = sheet.subplots(1, 2)
    for layer in range(layers):
        colour = colormaps["viridis"](layer / max(1, layers - 1) * 0.9)
        means = [point.layer_means()[layer] for point in curve]
        left.plot(steps, means, color=colour, label=f"layer {layer}", marker=_marker(steps))
    bound = causal_bound(curve[-1].entropies.tokens)
    left.axhline(bound, color=_GREY, linestyle="--", linewidth=1, label="causal bound")
    left.set_ylabel("mean head entropy, nats")
    left.set_ylim(0, 1.08 * bound)
    left.legend(fontsize=7, ncols=1 + layers // 9)
    summaries = [point.summary for point in curve]
    for name, colour, style, values in (
        ("overloaded", _WARM, "-", [summary.overloaded for summary in summaries]),
        ("collapsed", _COLD, "-", [summary.collapsed for summary in summaries]),
        ("NaN", _GREY, ":", [summary.nan_heads for summary in summaries]),
    ):
        shares = [100 * value for value in values]
        right.plot(steps, shares, color=colour, linestyle=style, label=name, marker=_marker(steps))
    right.set_ylabel("heads, %")
    right.set_ylim(-3, 103)
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.set_xlabel("training step")
        axes.spines[["top", "right"]].set_visible(False)
    sheet.suptitle(title, fontsize=10)
    sheet.savefig(path, dpi=150)


def _marker(steps: Sequence[int]) -> str:
    return "o" if len(steps) < 12 else ""


def figure(width: float, height: float) -> Figure:
    """An empty figure in inches that needs no window system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(sheet)
    return sheet
