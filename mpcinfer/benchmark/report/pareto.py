"""What a model is worth against what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mpcinfer.benchmark.report.fits import pareto_front
from mpcinfer.benchmark.report.grammar import (
    MEGABYTES,
    Data,
    Figure,
    Spec,
    colour,
    facts,
    megabytes,
    networks,
    once,
    panels,
    tooltip,
    values_of,
)
from mpcinfer.benchmark.report.rows import ReportRow, modelled_seconds

_CHOICES = ("subject", "tokens")
_FRONT = "A line joins what nothing beats under its plan."


def pareto_bytes(rows: Sequence[ReportRow]) -> Figure | None:
    """Perplexity against online bytes, a panel a plan; None where no row has a perplexity."""
    data = _points(rows, lambda row: megabytes(row.online_bytes))
    if not data:
        return None
    return Figure(
        name="perplexity-against-bytes",
        title="Perplexity against bytes",
        text=f"Down and left is better. {_FRONT}",
        spec=panels(data, "plan", _panel(data, MEGABYTES, "label"), choices=_CHOICES, columns=2, same_y=True),
        choices=_CHOICES,
    )


def pareto_seconds(rows: Sequence[ReportRow]) -> Figure | None:
    """Perplexity against modelled seconds, a panel a network; None where no row has a perplexity."""
    data: Data = []
    for network in networks():
        found = _points(rows, lambda row, on=network: modelled_seconds(row, on))
        data += [{**each, "network": network.name} for each in found]
    if not data:
        return None
    return Figure(
        name="perplexity-against-seconds",
        title="Perplexity against modelled seconds on each network",
        text="From the bills: rounds times latency, bytes over bandwidth, and compute where it was measured. "
        + _FRONT,
        spec=panels(
            data,
            "network",
            _panel(data, "modelled seconds", "plan"),
            choices=_CHOICES,
            columns=2,
            same_y=True,
        ),
        choices=_CHOICES,
    )


def _points(rows: Sequence[ReportRow], cost: Callable[[ReportRow], float]) -> Data:
    """What is drawn: rows that have a perplexity, and whether they are on the front of their plan."""
    groups: dict[tuple[str, str, int], list[ReportRow]] = {}
    for row in once(rows):
        if row.perplexity is not None:
            groups.setdefault((row.subject, row.record.plan, row.record.tokens), []).append(row)
    data: Data = []
    for group in groups.values():
        points = [(cost(row), row.perplexity or 0.0) for row in group]
        front = pareto_front(points)
        data += [
            {**facts(row), "value": point[0], "perplexity": point[1], "front": i in front}
            for i, (row, point) in enumerate(zip(group, points, strict=True))
        ]
    return data


def _panel(data: Data, axis: str, by: str) -> Spec:
    x = {
        "field": "value",
        "type": "quantitative",
        "title": axis,
        "scale": {"type": "log", "nice": False, "padding": 24},
    }
    y = {
        "field": "perplexity",
        "type": "quantitative",
        "title": "perplexity",
        "scale": {"zero": False, "nice": False, "padding": 14},
    }
    shades = colour(by, values_of(data, by))
    said = tooltip("label", "plan", "tokens", "perplexity", ("value", axis))
    line = {"type": "line", "strokeWidth": 1.2, "strokeDash": [4, 3], "opacity": 0.8}
    stroke = shades if by == "plan" else {"value": "#888888"}
    return {
        "height": 230,
        "encoding": {"x": x, "y": y},
        "layer": [
            {
                "transform": [{"filter": "datum.front"}],
                "mark": line,
                "encoding": {"color": stroke, "detail": {"field": "plan"}, "order": {"field": "value"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 75, "opacity": 1},
                "encoding": {"color": shades, "tooltip": said},
            },
        ],
    }
