"""A report as one HTML page that needs nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from mpcinfer.benchmark.network import NETWORKS, Network
from mpcinfer.benchmark.report.figures import live_figure
from mpcinfer.benchmark.report.grammar import Figure, facts, once
from mpcinfer.benchmark.report.render import browser_code
from mpcinfer.benchmark.report.rows import ReportRow, terms
from mpcinfer.benchmark.report.tables import Table

_ASSETS = files("mpcinfer.benchmark.report") / "assets"
FIRST_NETWORK = "lan-1g"
"""What the sliders show at first."""


def page(
    title: str,
    rows: Sequence[ReportRow],
    *,
    figures: Sequence[Figure],
    tables: Sequence[Table],
    others: Sequence[Table],
) -> str:
    """The page, with all of its code, style and data in it.

    Args:
        rows: of this project; `number` is their place among all records.
        figures: of these rows.
        tables: of these rows, `runs` first.
        others: of peers, of papers, of failures: they stand apart.

    Raises:
        ConfigError: what draws is not installed.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    table_html = environment.from_string(_asset("table.html"))

    def shown(table: Table) -> Markup:
        return Markup(table_html.render(table=table))

    live = live_figure(rows)
    drawn = [*([live] if live else []), *figures]
    data: dict[str, Any] = {
        "rows": {row.number: _numbers(row) for row in rows},
        "live": [row.number for row in once(rows)],
        "networks": {name: _network(network) for name, network in NETWORKS.items()},
        "first_network": FIRST_NETWORK,
        "figures": [{"name": each.name, "spec": each.spec, "choices": each.choices} for each in drawn],
    }
    return environment.from_string(_asset("page.html")).render(
        title=title,
        facts=_facts(rows),
        footer=_footer(rows),
        live=live,
        figures=figures,
        tables=list(tables),
        others=list(others),
        networks=list(NETWORKS.values()),
        shown=shown,
        style=_asset("page.css"),
        script=_asset("page.js"),
        library=browser_code().replace("</script", "<\\/script"),
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _numbers(row: ReportRow) -> dict[str, Any]:
    """What seconds on a network are computed from."""
    return {**facts(row), "measured": row.compute is not None, "terms": terms(row)}


def _network(network: Network) -> dict[str, Any]:
    unlimited = math.isinf(network.bandwidth)
    return {"bandwidth": None if unlimited else network.bandwidth, "latency": network.latency}


def _facts(rows: Sequence[ReportRow]) -> str:
    by_how: dict[str, int] = {}
    for row in rows:
        by_how[row.record.how] = by_how.get(row.record.how, 0) + 1
    how = ", ".join(f"{count} {name}" for name, count in by_how.items())
    return f"{len(rows)} records of this project: {how}." if rows else "No records of this project."


def _footer(rows: Sequence[ReportRow]) -> str:
    said = [
        ("Machines", {row.record.machine for row in rows}),
        ("Commits", {row.record.commit for row in rows}),
        ("Trust", {row.record.trust for row in rows}),
    ]
    lines = [f"{name}: {'; '.join(sorted(filter(None, values)))}." for name, values in said if any(values)]
    return " ".join(lines)


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
