"""A count that grew is caught to the byte; times are shown with their spread."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import counts
from mpcinfer.benchmark.cases import parse
from mpcinfer.benchmark.compare import COUNTS, compare, described, summary
from mpcinfer.benchmark.record import BenchRecord, read_records
from mpcinfer.cli.main import app
from protocols.fss.executors.gate import Message

BILL = dict.fromkeys(COUNTS, 100)
FEW = [parse(f"operation/relu/{name}/T4") for name in ("fss/lookup", "crypten/compare")]


def record(case: str, bill: dict[str, int] | None = None, **fields: object) -> BenchRecord:
    return BenchRecord(case=case, kind="operation", bill=BILL if bill is None else bill, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("by", [1, -1])
def test_a_byte_or_a_round_is_seen(name: str, by: int, tmp_path: Path) -> None:
    files = [tmp_path / "before.jsonl", tmp_path / "after.jsonl"]
    for path, bill in zip(files, (BILL, {**BILL, name: 100 + by}), strict=True):
        path.write_text(record("a", bill).to_line() + "\n" + record("b").to_line() + "\n")
    [change, other] = compare(*(read_records([path]) for path in files))
    assert change.counts == {name: (100, 100 + by)}
    assert change.grew == ([name] if by > 0 else [])
    assert not other.counts
    shown = CliRunner().invoke(app, ["bench", "compare", *map(str, files)])
    assert shown.exit_code == (1 if by > 0 else 0)
    assert f"{name} {'GREW' if by > 0 else 'fell'} from 100 to {100 + by}" in shown.stdout


def test_times_have_median_and_spread() -> None:
    before = record("a", how="loopback", seconds=[3.0, 1.0, 2.0])
    after = dataclasses.replace(before, seconds=[4.0])
    [line] = described(compare([before], [after]))
    assert line == "a loopback: seconds 2 s (1 to 3, 3 runs) before, 4 s after, x2.00"


def test_the_same_case_over_another_network_is_another_measurement() -> None:
    changes = compare([record("a", how="emulated", network="lan-1g")], [record("a", how="loopback")])
    assert [change.said for change in changes] == ["gone", "new"]
    assert "1 only in the second file, 1 only in the first" in summary(changes)


def test_a_case_that_fails_now_is_said() -> None:
    [change] = compare([record("a")], [record("a", failed="RangeError: too large")])
    assert change.said == "failed: RangeError: too large"


@pytest.fixture
def baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(counts, "cases", lambda: FEW)
    path = tmp_path / "counts.jsonl"
    path.write_text("".join(counts.line_of(each) + "\n" for each in counts.counted(FEW)))
    return path


def test_the_baseline_is_what_is_counted(baseline: Path) -> None:
    assert counts.check(baseline) == []


def test_one_byte_more_in_every_message_is_caught(baseline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Message.payload_bytes.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Message, "payload_bytes", property(lambda message: usual(message) + 1))
    grown, *_, last = counts.check(baseline)
    assert "operation/relu/fss/lookup/T4: online_bytes_to_server GREW" in grown
    assert grown.endswith("(+1)")
    assert last.startswith("counts: 1 equal, 1 grew")


def test_a_case_that_the_baseline_lacks_is_caught(baseline: Path) -> None:
    lines = baseline.read_text().splitlines()
    baseline.write_text(lines[0] + "\n")
    assert counts.check(baseline)[0] == "operation/relu/crypten/compare/T4: new"


def test_the_checked_in_baseline_has_every_case_that_is_listed() -> None:
    assert [each.case for each in read_records([counts.COUNTS_FILE])] == [
        each.name for each in counts.cases()
    ]
