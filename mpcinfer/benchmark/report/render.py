"""Figures as SVG and PNG, and what draws them in a browser."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path
from typing import Any

from mpcinfer.benchmark.report.grammar import Figure, Spec
from parties.errors import ConfigError

_SCALE = 2.0
"""Of PNG files, for sharp print."""
_FONT = "Arial, Helvetica, Liberation Sans, DejaVu Sans, sans-serif"
CONFIG: Spec = {
    "font": _FONT,
    "background": "#ffffff",
    "view": {"stroke": "#d0d4da"},
    "axis": {
        "gridColor": "#e6e8ec",
        "domainColor": "#8a919c",
        "tickColor": "#8a919c",
        "labelLimit": 220,
        "labelFontSize": 11,
    },
    "axisX": {"labelSeparation": 9},
    "axisXQuantitative": {"tickCount": 8},
    "axisY": {"minExtent": 60},
    "legend": {"columns": 5, "labelLimit": 240, "layout": {"top": {"anchor": "start", "margin": 14}}},
}


def require_drawing() -> None:
    """Raises ConfigError where what draws is not installed."""
    if importlib.util.find_spec("vl_convert") is None:
        command = f"{shlex.quote(sys.executable)} -m pip install 'mpcinfer[report]'"
        raise ConfigError(f"a report's figures need vl-convert: {command}")


def browser_code() -> str:
    """JavaScript that has `vegaEmbed` in `window`: Vega, Vega-Lite and Vega-Embed, some 0.9 MB."""
    return str(_vl_convert().javascript_bundle())


def save(figure: Figure, folder: Path) -> list[Path]:
    """Writes NAME.svg and NAME.png, both with their title and a white ground.

    Returns:
        What was written.
    """
    title = {"text": figure.title, "subtitle": _first(figure), "anchor": "start", "offset": 12}
    spec = {**figure.spec, "title": title, "config": CONFIG, "padding": 12}
    svg, png = folder / f"{figure.name}.svg", folder / f"{figure.name}.png"
    svg.write_text(_vl_convert().vegalite_to_svg(spec), encoding="utf-8")
    png.write_bytes(_vl_convert().vegalite_to_png(spec, scale=_SCALE))
    return [svg, png]


def _first(figure: Figure) -> str:
    """Which of its choices a file shows."""
    said = [
        f"{each['value']} tokens" if "tokens" in each["name"] else each["value"]
        for each in figure.spec["params"]
    ]
    return ", ".join(map(str, said))


def _vl_convert() -> Any:
    require_drawing()
    import vl_convert

    return vl_convert
