"""A report's figures: cost by kind and by length, seconds by network."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.benchmark.network import NETWORKS
from mpcinfer.benchmark.report.fits import PowerLaw, power_law
from mpcinfer.benchmark.report.grammar import (
    KINDS,
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
from mpcinfer.benchmark.report.pareto import pareto_bytes, pareto_seconds
from mpcinfer.benchmark.report.rows import ReportRow, modelled_seconds
from parties.bill import BillRow

METRICS = {"bytes": MEGABYTES, "rounds": "rounds"}
_SHAPES = {"measured": "circle", "shaped": "square", "emulated": "diamond", "modelled": "cross"}
_CHOICES = ("subject", "tokens")


def figures(rows: Sequence[ReportRow]) -> list[Figure]:
    """All figures for which these rows have something to show, in the order of a report.

    Args:
        rows: measured or counted by this project.
    """
    made = [
        *(kinds_figure(rows, metric) for metric in METRICS),
        *(scaling_figure(rows, metric) for metric in METRICS),
        pareto_bytes(rows),
        pareto_seconds(rows),
        seconds_figure(rows),
    ]
    return [figure for figure in made if figure is not None]


def kinds_figure(rows: Sequence[ReportRow], metric: str) -> Figure | None:
    """Stacked bars by kind of operation, a panel a plan."""
    data: Data = []
    kinds = _kinds(rows)
    for row in once(rows):
        for kind in row.kinds:
            both = kind.online_bytes_to_server, kind.online_bytes_to_client
            value = kind.rounds if metric == "rounds" else megabytes(*both)
            ways = {"to_server": megabytes(both[0]), "to_client": megabytes(both[1])}
            if value:
                place = kinds.index(kind.kind)
                data.append({**facts(row), "kind": kind.kind, "value": value, **ways, "order": place})
    if not data:
        return None
    inner = _bars(
        METRICS[metric], "kind", kinds, (("to_server", "MB to server"), ("to_client", "MB to client"))
    )
    return Figure(
        name=f"{metric}-by-kind",
        title=f"{metric.capitalize()} by nonlinearity",
        text="Online, both ways. Each plan has its own scale.",
        spec=panels(data, "plan", inner, choices=_CHOICES),
        choices=_CHOICES,
    )


def scaling_figure(rows: Sequence[ReportRow], metric: str) -> Figure | None:
    """Cost against T on logarithmic axes with fitted lines, a panel a plan."""
    data: Data = []
    for points, law in laws(rows, metric):
        data += [
            {
                **facts(row),
                "value": measure(row, metric),
                "fitted": law(float(row.record.tokens)),
                "exponent": round(law.exponent, 3),
            }
            for row in points
        ]
    if not data:
        return None
    return Figure(
        name=f"{metric}-against-tokens",
        title=f"{metric.capitalize()} against the number of tokens",
        text="Points are records, lines are fits of a T^b in logarithms; b is in the table of exponents.",
        spec=panels(data, "plan", _lines(data, METRICS[metric]), choices=("subject",), columns=2),
        choices=("subject",),
    )


def seconds_figure(rows: Sequence[ReportRow]) -> Figure | None:
    """Seconds by network and where they are from; only of what somebody measured."""
    data: Data = []
    for row in rows:
        if row.seconds is not None and row.record.how != "modelled":
            network = row.record.network or row.record.how
            data.append({**facts(row), "network": network, "how": said(row), "value": row.seconds})
    for row in once([row for row in rows if row.compute is not None]):
        for each in networks():
            seconds = modelled_seconds(row, each)
            data.append({**facts(row), "network": each.name, "how": "modelled", "value": seconds})
    if not data:
        return None
    data.sort(key=lambda mark: (mark["subject"], mark["plan"], mark["label"], mark["tokens"]))
    for mark in data:
        mark["run"] = f"{mark['label']}, {mark['plan']}, {mark['tokens']}"
    return Figure(
        name="seconds-by-network",
        title="Seconds by network",
        text="Online, of what was measured: on loopback; shaped, by our own channel; emulated, outside of "
        "the parties; modelled, from the bill and the compute measured on loopback.",
        spec=panels(data, "subject", _points(list(NETWORKS), data)),
    )


def live_figure(rows: Sequence[ReportRow]) -> Figure | None:
    """Seconds on the network of the page's sliders; the page puts the marks in."""
    data = [facts(row) for row in once(rows)]
    if not data:
        return None
    spec = panels(data, "plan", _bars("modelled seconds", "part", PARTS), choices=_CHOICES)
    return Figure(
        name="live",
        title="Seconds on this network",
        text="Rounds times latency, bytes over bandwidth, waiting for a dealer that deals meanwhile, and "
        "compute in panels where all of it was measured.",
        spec=spec,
        choices=_CHOICES,
    )


PARTS = ("compute", "rounds", "bytes", "dealer")
"""Of modelled seconds."""


def laws(rows: Sequence[ReportRow], metric: str) -> list[tuple[list[ReportRow], PowerLaw]]:
    """Rows that differ by their tokens alone, shortest first, and the power law through them."""
    groups: dict[tuple[str, str, str], list[ReportRow]] = {}
    for row in sorted(once(rows), key=lambda each: each.record.tokens):
        groups.setdefault((row.subject, row.label, row.record.plan), []).append(row)
    fitted = [
        (points, power_law([(float(row.record.tokens), measure(row, metric)) for row in points]))
        for points in groups.values()
    ]
    return [(points, law) for points, law in fitted if law is not None]


def said(row: ReportRow) -> str:
    """What a record's seconds are called."""
    return "measured" if row.record.how == "loopback" else row.record.how


def measure(row: ReportRow, metric: str) -> float:
    """Rounds, or online megabytes."""
    return float(row.total.rounds) if metric == "rounds" else megabytes(row.online_bytes)


def _kinds(rows: Sequence[ReportRow]) -> list[str]:
    """All that take something online: those with colours of their own first."""
    found = {kind.kind for row in rows for kind in row.kinds if _is_online(kind)}
    return [*(kind for kind in KINDS if kind in found), *sorted(found - set(KINDS))]


def _is_online(row: BillRow) -> bool:
    return row.rounds + row.online_bytes_to_server + row.online_bytes_to_client > 0


# -- one panel -----------------------------------------------------------------------------------------------


def _bars(axis: str, part: str, parts: Sequence[str], more: Sequence[tuple[str, str]] = ()) -> Spec:
    """Horizontal bars, stacked."""
    return {
        "height": {"step": 20},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "label", "type": "nominal", "title": None, "sort": None},
            "x": {"field": "value", "type": "quantitative", "title": axis, "stack": "zero"},
            "color": colour(part, parts),
            "order": {"field": "order"},
            "tooltip": tooltip("label", "plan", "tokens", part, ("value", axis), *more),
        },
    }


def _lines(data: Data, axis: str) -> Spec:
    """Points with fitted lines; both axes are logarithmic."""
    lengths = sorted({each["tokens"] for each in data})
    x = {
        "field": "tokens",
        "type": "quantitative",
        "title": "tokens T",
        "scale": {"type": "log", "nice": False, "padding": 14},
        "axis": {"values": lengths, "format": "d"},
    }
    y = {"type": "quantitative", "title": axis, "scale": {"type": "log", "nice": False, "padding": 10}}
    hover = tooltip("label", "plan", "tokens", ("value", axis), "exponent")
    point = {"type": "point", "filled": True, "size": 55, "opacity": 1}
    return {
        "height": 240,
        "encoding": {"x": x, "color": colour("label", values_of(data, "label"))},
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 1.5}, "encoding": {"y": {"field": "fitted", **y}}},
            {"mark": point, "encoding": {"y": {"field": "value", **y}, "tooltip": hover}},
        ],
    }


def _points(order: list[str], data: Data) -> Spec:
    """A row a run, seconds from left to right on a logarithmic axis."""
    known = list(dict.fromkeys([*order, *values_of(data, "network")]))
    shape = {
        "field": "how",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(_SHAPES), "range": list(_SHAPES.values())},
        "legend": {"orient": "top"},
    }
    y = {"field": "run", "type": "nominal", "title": None, "sort": None}
    x = {
        "field": "value",
        "type": "quantitative",
        "title": "seconds",
        "scale": {"type": "log", "nice": False, "padding": 14},
    }
    return {
        "height": {"step": 24},
        "mark": {"type": "point", "filled": True, "size": 80, "opacity": 0.9},
        "encoding": {
            "y": y,
            "x": x,
            "color": colour("network", known),
            "shape": shape,
            "tooltip": tooltip("run", "network", "how", ("value", "seconds")),
        },
    }
