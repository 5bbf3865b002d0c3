"""What a report makes of records: rows, fits, fronts, tables, figures, files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mpcinfer.benchmark.modelled import modelled
from mpcinfer.benchmark.network import LOOPBACK, NETWORKS
from mpcinfer.benchmark.report.contents import other_tables, our_tables
from mpcinfer.benchmark.report.figures import figures, live_figure
from mpcinfer.benchmark.report.fits import pareto_front, power_law
from mpcinfer.benchmark.report.published import read_published
from mpcinfer.benchmark.report.report import PAGE, write_report
from mpcinfer.benchmark.report.rows import ReportRow, modelled_seconds, ours, peers, report_rows
from mpcinfer.benchmark.report.tables import Column, Table, as_csv, as_latex, as_markdown, significant
from parties.bill import Bill
from parties.errors import ConfigError
from tests.deadlines import HANG_S
from tests.mpcinfer.benchmark import report_records as made

FIGURES = (
    *("bytes-by-kind", "rounds-by-kind", "bytes-against-tokens", "rounds-against-tokens"),
    *("perplexity-against-bytes", "perplexity-against-seconds", "seconds-by-network"),
)


@pytest.fixture(scope="module")
def rows() -> list[ReportRow]:
    return report_rows(made.records())


def row_of(rows: list[ReportRow], name: str, plan: str, tokens: int, how: str = "counted") -> ReportRow:
    [row] = [
        each
        for each in ours(rows)
        if (each.label, each.record.plan, each.record.tokens, each.record.how) == (name, plan, tokens, how)
    ]
    return row


def test_a_row_has_its_bills_totals_and_kinds(rows: list[ReportRow]) -> None:
    row = row_of(rows, "SM+LN+G", "fss", 16)
    bill = Bill.from_json(made.counted("SM+LN+G", "fss", 16).bill)
    assert row.total == bill.total
    assert row.online_bytes == bill.total.online_bytes_to_server + bill.total.online_bytes_to_client
    assert sum(kind.rounds for kind in row.kinds) == row.total.rounds
    assert {"softmax", "gelu_tanh", "layernorm"} <= {kind.kind for kind in row.kinds}


@pytest.mark.parametrize("plan", made.PLANS)
def test_seconds_are_those_of_the_model(rows: list[ReportRow], plan: str) -> None:
    row = row_of(rows, "SM+LN+G", plan, 16)
    bill = Bill.from_json(made.counted("SM+LN+G", plan, 16).bill)
    for network in NETWORKS.values():
        expected = modelled(bill, network, streamed=plan == "crypten").seconds
        assert math.isclose(modelled_seconds(row, network), expected)
    assert modelled_seconds(row, LOOPBACK) == 0.0


def test_wire_bytes_of_runs_do_not_count_offline_messages_as_online() -> None:
    counted = made.counted("SM+LN+G", "fss", 16)
    labels = [{**row, "wire_bytes_to_server": 10**9} for row in counted.bill["labels"]]
    run = dataclasses.replace(counted, bill={**counted.bill, "labels": labels})
    seconds = [modelled_seconds(row, NETWORKS["wan-100m"]) for row in report_rows([counted, run])]
    assert seconds[0] == seconds[1]


def test_compute_is_that_of_a_run_of_the_same_thing(rows: list[ReportRow]) -> None:
    assert row_of(rows, "SM+LN+G", "fss", 32).compute == 0.6  # the median
    assert row_of(rows, "SM+LN+G", "fss", 32, "emulated").compute == 0.6
    assert row_of(rows, "SM+LN+G", "fss", 16).compute is None
    assert modelled_seconds(row_of(rows, "SM+LN+G", "fss", 32), LOOPBACK) == pytest.approx(0.6)


def test_a_broken_bill_is_refused_with_the_case() -> None:
    record = dataclasses.replace(made.failed(), failed="", bill={"labels": [1], "notes": []})
    with pytest.raises(ConfigError, match="too-large"):
        report_rows([record])


def test_a_power_law_is_found_exactly() -> None:
    law = power_law([(t, 3 * t**1.5) for t in (8.0, 16.0, 64.0)])
    assert law is not None
    assert (round(law.factor, 9), round(law.exponent, 9), law.points) == (3, 1.5, 3)
    assert law.largest_deviation < 1e-9
    assert power_law([(8.0, 1.0), (8.0, 2.0)]) is None
    assert power_law([(8.0, 1.0), (16.0, 0.0)]) is None


def test_the_front_is_what_nothing_beats() -> None:
    points = [(1.0, 5.0), (2.0, 5.0), (2.0, 3.0), (3.0, 4.0), (4.0, 1.0), (1.0, 6.0)]
    assert pareto_front(points) == [0, 2, 4]
    assert pareto_front([]) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.00123456, "0.00123"),
        (0.9996, "1.00"),
        (1.234, "1.23"),
        (99.96, "100"),
        (12345.0, "12,300"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_tables_as_text() -> None:
    columns = (Column("plan_name", "plan"), Column("share", "share, %", lambda value: f"{value:.1f}"))
    table = Table("t", "Title", "Text & more.", columns, (("a|b_c", 12.345), ("d, e", None)))
    assert as_csv(table) == 'plan_name,share\na|b_c,12.345\n"d, e",\n'
    assert as_markdown(table).splitlines()[2:] == [
        "| plan | share, % |",
        "| --- | ---: |",
        "| a\\|b_c | 12.3 |",
        "| d, e |  |",
    ]
    latex = as_latex(table)
    assert r"\caption{Title. Text \& more.}" in latex
    assert r"    plan & share, \% \\" in latex
    assert r"    a|b\_c & 12.3 \\" in latex
    assert [latex.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_every_figure_is_drawn_where_there_is_something(rows: list[ReportRow]) -> None:
    assert tuple(figure.name for figure in figures(ours(rows))) == FIGURES
    counted = [row for row in ours(rows) if row.record.how == "counted" and row.record.tokens == 8]
    bare = [
        dataclasses.replace(row, record=dataclasses.replace(row.record, quality={}), compute=None)
        for row in counted
    ]
    assert [figure.name for figure in figures(bare)] == ["bytes-by-kind", "rounds-by-kind"]
    assert figures([]) == []
    assert live_figure([]) is None


def marks(rows: list[ReportRow], name: str) -> list[dict[str, Any]]:
    [figure] = [each for each in figures(ours(rows)) if each.name == name]
    return figure.spec["data"]["values"]


def test_bars_add_up_to_the_bills(rows: list[ReportRow]) -> None:
    for name, total in (
        ("rounds-by-kind", lambda row: row.total.rounds),
        ("bytes-by-kind", lambda row: row.online_bytes / 1e6),
    ):
        for plan in made.PLANS:
            row = row_of(rows, "SM+LN+R", plan, 32)
            shown = [
                mark["value"]
                for mark in marks(rows, name)
                if (mark["label"], mark["plan"], mark["tokens"]) == ("SM+LN+R", plan, 32)
            ]
            assert math.isclose(sum(shown), total(row))


def test_the_fronts_are_of_each_plan(rows: list[ReportRow]) -> None:
    front = {
        (mark["label"], mark["plan"])
        for mark in marks(rows, "perplexity-against-bytes")
        if mark["front"] and mark["tokens"] == 16
    }
    # SM+LN+R is better and cheaper than SM+LN+G
    assert front == {(name, plan) for name in ("SM+LN+R", "SM+ScFuFFN") for plan in made.PLANS}


def test_seconds_say_where_they_are_from(rows: list[ReportRow]) -> None:
    found = {(mark["network"], mark["how"]): mark["value"] for mark in marks(rows, "seconds-by-network")}
    assert found["loopback", "measured"] == 0.6
    assert found["wan-100m", "emulated"] == 9.0
    row = row_of(rows, "SM+LN+G", "fss", 32)
    assert found["wan-100m", "modelled"] == modelled_seconds(row, NETWORKS["wan-100m"])
    assert len(found) == 2 + sum(network.latency > 0 for network in NETWORKS.values())


def test_peers_and_papers_share_no_table_with_ours(rows: list[ReportRow], tmp_path: Path) -> None:
    published = read_published(made.write(tmp_path)[-1])
    mine = our_tables(rows)
    others = other_tables(rows, published, [made.failed()])
    assert [table.name for table in mine] == ["runs", "modelled-seconds", "exponents", "kinds"]
    assert [table.name for table in others] == ["peers", "published", "failed"]
    for words, tables in ((("Peer", "ThatSystem"), mine), (("SM+LN+G",), others)):
        text = "".join(as_csv(table) for table in tables)
        assert not any(word in text for word in words)
    assert len(peers(rows)) == 1
    assert "25320000000" in as_csv(others[1])
    assert "rounds" not in as_csv(others[1])  # a column in which nobody has anything


def test_exponents_are_in_their_table(rows: list[ReportRow]) -> None:
    [table] = [table for table in our_tables(rows) if table.name == "exponents"]
    found = {
        (row["variant"], row["plan"], row["metric"]): float(row["exponent"])
        for row in csv.DictReader(io.StringIO(as_csv(table)))
    }
    assert found["SM+LN+G", "fss", "online rounds"] == 0
    assert 1 < found["SM+LN+G", "fss", "online bytes"] < 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("{}", "a list"),
        ("[1]", "entry 1"),
        ('[{"work": "x"}]', "entry 1"),
        (None, "No such"),
    ],
)
def test_published_numbers_that_are_none(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "p.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_published(tmp_path / "p.json")


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    *records, published = made.write(tmp_path)
    out = tmp_path / "deep" / "report"
    told: list[str] = []
    written = write_report(records, out, title="A <title>", published=published, tell=told.append)
    assert written[0] == out / PAGE
    assert {path.name for path in out.iterdir()} == {path.name for path in written}
    for name in FIGURES:
        assert (out / f"{name}.svg").read_text().startswith("<svg")
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert len(told) == 1 + len(FIGURES) + 7
    page = (out / PAGE).read_text()
    assert "<title>A &lt;title&gt;</title>" in page
    assert "it does &lt;not&gt; fit" in page
    for row in ours(report_rows(made.records())):
        assert f'data-value="{row.total.online_bytes_to_server}"' in page
    without_library = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*""", without_library) == []
    data = json.loads(re.findall(r'id="report">(.*?)</script>', page, re.DOTALL)[0])
    assert [each["name"] for each in data["figures"]] == ["live", *FIGURES]


def test_what_cannot_be_reported_is_said(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(ConfigError, match="no records in"):
        write_report([empty], tmp_path / "out", title="")
    [mine, *_] = made.write(tmp_path)
    with pytest.raises(ConfigError, match=r"empty\.jsonl: "):
        write_report([mine], empty, title="", pictures=False)


def test_the_command_writes_a_report(tmp_path: Path) -> None:
    [mine, *_] = made.write(tmp_path)
    command = [sys.executable, "-m", "mpcinfer", "report", str(mine), "--out", str(tmp_path / "r")]
    run = subprocess.run(
        [*command, "--no-pictures"], check=True, capture_output=True, text=True, timeout=HANG_S
    )
    assert run.stdout.strip() == str(tmp_path / "r" / PAGE)
    assert "runs.csv" in run.stderr
