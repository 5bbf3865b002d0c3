"""Which tables a report has."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from mpcinfer.benchmark.network import NETWORKS
from mpcinfer.benchmark.record import BenchRecord
from mpcinfer.benchmark.report.figures import METRICS, laws
from mpcinfer.benchmark.report.grammar import once
from mpcinfer.benchmark.report.published import Published
from mpcinfer.benchmark.report.rows import ReportRow, modelled_seconds, ours, peers
from mpcinfer.benchmark.report.tables import Cells, Column, Table, significant, without_empty


def whole(value: int | float) -> str:
    """12,345."""
    return f"{value:,.0f}"


def megabytes(value: int | float) -> str:
    """Bytes as megabytes of three digits, without their unit."""
    return significant(value / 1e6)


_WHAT = (
    Column("what", "what"),
    Column("variant", "variant"),
    Column("plan", "plan"),
    Column("tokens", "tokens", whole),
)
_HOW = ("loopback", "shaped", "emulated", "modelled")
_COST = (
    Column("rounds", "rounds", whole),
    Column("online_bytes_to_server", "online to server, MB", megabytes),
    Column("online_bytes_to_client", "online to client, MB", megabytes),
    Column("offline_bytes", "offline, MB", megabytes),
)


def our_tables(rows: Sequence[ReportRow]) -> list[Table]:
    """Of this project's own records: runs, kinds, exponents, seconds by network."""
    mine = ours(rows)
    made = [runs_table(mine), seconds_table(mine), exponents_table(mine), kinds_table(mine)]
    return [without_empty(table) for table in made if table.rows]


def other_tables(
    rows: Sequence[ReportRow], published: Sequence[Published], failed: Iterable[BenchRecord]
) -> list[Table]:
    """Of peers, of papers, and of what gave no result."""
    made = [peers_table(peers(rows)), published_table(published), failed_table(failed)]
    return [without_empty(table) for table in made if table.rows]


def runs_table(rows: Sequence[ReportRow]) -> Table:
    """A row a record."""
    columns = (
        *_WHAT,
        Column("compute_s", "compute, s", significant),
        Column("how", "how"),
        Column("network", "network"),
        *_COST,
        Column("setup_bytes", "setup, MB", megabytes),
        Column("perplexity", "perplexity", significant),
        Column("largest_error", "largest error", significant),
        Column("loopback_s", "measured, s", significant),
        Column("shaped_s", "shaped, s", significant),
        Column("emulated_s", "emulated, s", significant),
        Column("recorded_model_s", "modelled in its record, s", significant),
        Column("parties_offline_s", "parties offline, s", significant),
        Column("dealer_s", "dealer, s", significant),
        Column("memory_bytes", "peak memory, MB", megabytes),
        Column("machine", "machine"),
        Column("commit", "commit"),
    )
    return Table(
        "runs",
        "Every record",
        "How: counted from shapes; run on loopback; shaped or emulated networks. Bytes are payload; seconds "
        "are medians, online unless they say otherwise. Modelled seconds behind ≥ are the "
        "network's alone: nobody measured the compute.",
        columns,
        tuple(_run(row) for row in rows),
        tuple(row.number for row in rows),
    )


def seconds_table(rows: Sequence[ReportRow]) -> Table:
    """Modelled seconds on every network, next to none that were measured."""
    columns = (
        *_WHAT,
        Column("compute_s", "compute, s", significant),
        *(Column(f"{name}_s", f"{name}, s", significant) for name in NETWORKS),
    )
    cells = [
        [*_what(row), row.compute, *(modelled_seconds(row, network) or None for network in NETWORKS.values())]
        for row in once(rows)
    ]
    return Table(
        "modelled-seconds",
        "Modelled seconds on each network",
        "From the bill: rounds times latency, bytes over bandwidth, and compute where it was measured. Where "
        "it was not, these are the network's seconds alone.",
        columns,
        tuple(cells),
    )


def exponents_table(rows: Sequence[ReportRow]) -> Table:
    """How cost grows with the number of tokens."""
    columns = (
        *_WHAT[:3],
        Column("lengths", "lengths"),
        Column("metric", "cost"),
        Column("exponent", "exponent", lambda value: f"{value:.2f}"),
        Column("largest_deviation", "largest deviation", lambda value: f"{value:.1%}"),
    )
    cells: list[Cells] = []
    for metric in METRICS:
        for points, law in laws(rows, metric):
            lengths = ", ".join(str(row.record.tokens) for row in points)
            what = _what(points[0])[:3]
            cells.append([*what, lengths, f"online {metric}", law.exponent, law.largest_deviation])
    return Table(
        "exponents",
        "How cost grows with the number of tokens",
        "Fits of a T^b; the largest deviation is that of a record from its fit.",
        columns,
        tuple(cells),
    )


def kinds_table(rows: Sequence[ReportRow]) -> Table:
    """A row a record and kind of operation."""
    columns = (*_WHAT, Column("kind", "kind"), *_COST)
    cells: list[Cells] = []
    for row in once(rows):
        for kind in row.kinds:
            offline = kind.offline_bytes_to_server + kind.offline_bytes_to_client
            ways = kind.online_bytes_to_server, kind.online_bytes_to_client
            cells.append([*_what(row), kind.kind, kind.rounds, *ways, offline])
    return Table("kinds", "By kind of operation", "The bills of the records above.", columns, tuple(cells))


def peers_table(rows: Sequence[ReportRow]) -> Table:
    """Others' systems, run and measured by us."""
    columns = (
        Column("system", "system"),
        Column("what", "what"),
        Column("tokens", "tokens", whole),
        Column("network", "network"),
        *_COST,
        Column("online_s", "online, s", significant),
        Column("parties_offline_s", "parties offline, s", significant),
        Column("dealer_s", "dealer, s", significant),
        Column("largest_error", "largest error", significant),
        Column("trust", "who is trusted"),
        Column("versions", "versions"),
        Column("machine", "machine"),
    )
    cells = [
        [
            row.record.system,
            row.subject,
            row.record.tokens or None,
            row.record.network,
            *_cost(row),
            row.seconds,
            _median(row.record.offline_seconds),
            _median(row.record.dealer_seconds),
            row.record.error.get("max"),
            row.record.trust,
            ", ".join(f"{name} {version}" for name, version in row.record.versions.items()),
            row.record.machine,
        ]
        for row in rows
    ]
    return Table(
        "peers",
        "Other systems, run here",
        "Bytes and rounds as counted at their sockets, framing included; this project's own, where it stands "
        "here, likewise. Each row with its own trust.",
        columns,
        tuple(cells),
    )


def published_table(published: Sequence[Published]) -> Table:
    """What papers say, as they say it."""
    columns = (
        Column("work", "work"),
        Column("system", "system"),
        Column("model", "model"),
        Column("tokens", "tokens", whole),
        Column("rounds", "rounds", whole),
        Column("online_bytes", "online, MB", megabytes),
        Column("offline_bytes", "offline, MB", megabytes),
        Column("seconds", "s", significant),
        Column("trust", "who is trusted"),
        Column("hardware", "hardware"),
        Column("network", "network"),
        Column("counted", "counted"),
        Column("left_out", "left out"),
        Column("source", "source"),
    )
    cells = tuple(
        [
            "; ".join(map(significant, each.all_seconds))
            if column.key == "seconds"
            else getattr(each, column.key)
            for column in columns
        ]
        for each in published
    )
    return Table(
        "published",
        "Published numbers",
        "As their authors report them, on their machines; nothing here was run by us.",
        columns,
        cells,
    )


def failed_table(failed: Iterable[BenchRecord]) -> Table:
    """What gave no result, and why."""
    columns = (
        Column("system", "system"),
        Column("case", "case"),
        Column("plan", "plan"),
        Column("failed", "why"),
    )
    cells = tuple([each.system, each.case, each.plan, each.failed] for each in failed)
    return Table("failed", "Without a result", "What was tried and did not end well.", columns, cells)


def _what(row: ReportRow) -> list[str | int | None]:
    return [row.subject, row.label, row.record.plan, row.record.tokens]


def _cost(row: ReportRow) -> list[int]:
    total = row.total
    return [total.rounds, total.online_bytes_to_server, total.online_bytes_to_client, row.offline_bytes]


def _run(row: ReportRow) -> Cells:
    record = row.record
    by_how = [row.seconds if record.how == how else None for how in _HOW]
    return [
        *_what(row),
        row.compute,
        record.how,
        record.network,
        *_cost(row),
        row.total.setup_bytes,
        row.perplexity,
        record.error.get("max"),
        *by_how,
        _median(record.offline_seconds),
        _median(record.dealer_seconds),
        max(record.memory.values(), default=None),
        record.machine,
        record.commit,
    ]


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
