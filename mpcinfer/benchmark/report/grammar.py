"""What a report's figures are made of: Vega-Lite with panels, colours, tooltips and choices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mpcinfer.benchmark.network import NETWORKS, Network
from mpcinfer.benchmark.report.rows import ReportRow

Spec = dict[str, Any]
Data = list[dict[str, Any]]
MEGABYTES = "online MB, both ways"
WIDTH = 620
"""Of a figure's panels together, in pixels; the page sets its own."""
_PALETTE = (
    *("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#d4a72c"),
    *("#9d755d", "#8c8c8c", "#ff9da6", "#1f3d5c", "#8cc63f"),
)
KINDS = {
    "softmax": "#4c78a8",
    "power": "#b279a2",
    "gelu_tanh": "#f58518",
    "gelu": "#e45756",
    "silu": "#ff9da6",
    "relu": "#d4a72c",
    "layernorm": "#54a24b",
    "rmsnorm": "#8cc63f",
    "matmul": "#8a97a6",
    "linear": "#a9b4c0",
    "residual": "#6b7785",
    "product": "#7f9c9a",
    "other": "#c6ced7",
}
"""Nonlinearities in colours, what stands between them in greys, in the order of stacked bars."""
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure.

    Attributes:
        name: of its files.
        title, text: above it, and what it says.
        spec: in Vega-Lite.
        choices: fields of which it shows one value at a time; files show the first.
    """

    name: str
    title: str
    text: str
    spec: Spec
    choices: tuple[str, ...] = ()


def panels(
    data: Data, by: str, inner: Spec, *, choices: Sequence[str] = (), columns: int = 1, same_y: bool = False
) -> Spec:
    """A panel for each value of a field, with scales of its own.

    Args:
        data: a mapping a mark.
        by: the field.
        inner: one panel, without its width.
        choices: fields of which one value is shown; at first that of the first mark.
        same_y: panels share their vertical scale.
    """
    first = data[0] if data else {}
    return {
        "$schema": _SCHEMA,
        "data": {"name": "marks", "values": data},
        "params": [{"name": f"chosen_{each}", "value": first.get(each)} for each in choices],
        "transform": [{"filter": f"datum.{each} == chosen_{each}"} for each in choices],
        "facet": {
            "field": by,
            "type": "nominal",
            "title": None,
            "sort": list(dict.fromkeys(each[by] for each in data)) or None,
            "header": {"labelFontWeight": "bold", "labelAnchor": "start", "labelFontSize": 12},
        },
        "columns": columns,
        "spec": {"width": (WIDTH - 90 * (columns - 1)) / columns, **inner},
        "resolve": {"scale": {"x": "independent", "y": "shared" if same_y else "independent"}},
    }


def colour(field_: str, domain: Sequence[str], title: str | None = None) -> Spec:
    """A colour a value, the same in every figure with these values; kinds have their own."""
    shades = [KINDS.get(name, _PALETTE[i % len(_PALETTE)]) for i, name in enumerate(domain)]
    return {
        "field": field_,
        "type": "nominal",
        "title": title,
        "scale": {"domain": list(domain), "range": shades},
        "legend": {"orient": "top", "symbolType": "circle"},
    }


def tooltip(*fields_: str | tuple[str, str]) -> list[Spec]:
    """What hovering says: fields, or fields with titles; numbers with four digits."""
    pairs = [each if isinstance(each, tuple) else (each, each.replace("_", " ")) for each in fields_]
    return [
        {"field": name, "title": title, **({"format": ",.4~r"} if name in _NUMBERS else {})}
        for name, title in pairs
    ]


_NUMBERS = ("value", "to_server", "to_client", "perplexity", "exponent")


def values_of(data: Iterable[dict[str, Any]], field_: str) -> list[Any]:
    """In the order in which they first occur."""
    return list(dict.fromkeys(each[field_] for each in data))


def networks() -> list[Network]:
    """Those that take time of their own."""
    return [network for network in NETWORKS.values() if network.latency]


def facts(row: ReportRow) -> dict[str, Any]:
    """What a row is, for tooltips, panels and choices."""
    return {
        "number": row.number,
        "subject": row.subject,
        "label": row.label,
        "plan": row.record.plan,
        "tokens": row.record.tokens,
    }


def megabytes(*counts: int) -> float:
    """Decimal ones."""
    return sum(counts) / 1e6


def once(rows: Iterable[ReportRow]) -> list[ReportRow]:
    """One row for each thing that was run, measured or counted: the last."""
    newest = {tuple(facts(row).values())[1:]: row for row in rows}
    return list(newest.values())
