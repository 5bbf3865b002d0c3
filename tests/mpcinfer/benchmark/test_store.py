"""A file of records survives whatever ends the process that writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpcinfer.benchmark import runner as running
from mpcinfer.benchmark.cases import parse
from mpcinfer.benchmark.measured import Measured
from mpcinfer.benchmark.network import LOOPBACK, NETWORKS
from mpcinfer.benchmark.record import BenchRecord, read_records
from mpcinfer.benchmark.runner import Job, Runner, is_off, jobs_of
from mpcinfer.benchmark.store import Store, key_of, wanted_key
from parties.bill import Bill, BillRow
from parties.errors import ConfigError, PeerTimeout

CASES = [parse(f"operation/relu/fss/{name}/T4") for name in ("lookup", "fine")]


def record(case: str = "a", **fields: object) -> BenchRecord:
    return BenchRecord(case=case, kind="operation", **fields)  # type: ignore[arg-type]


def test_what_is_added_is_found(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bench.jsonl"
    Store(path).add(record())
    store = Store(path)
    assert not store.torn
    assert store.find(key_of(record())) == record()
    assert store.find(key_of(record("b"))) is None


@pytest.mark.parametrize("cut", range(1, len(record("b").to_line()), 97))
def test_the_start_of_a_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_text(record("a").to_line() + "\n" + record("b").to_line()[:cut])
    store = Store(path)
    assert store.torn
    store.add(record("c"))
    assert [each.case for each in read_records([path])] == ["a", "c"]


def test_a_whole_line_without_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_text(record("a").to_line())
    store = Store(path)
    assert not store.torn
    store.add(record("b"))
    assert [each.case for each in read_records([path])] == ["a", "b"]


def test_a_line_in_the_middle_that_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_text("not a record\n" + record("a").to_line() + "\n")
    with pytest.raises(ConfigError, match="line 1"):
        Store(path)
    assert path.read_text().startswith("not a record\n")


def made(job: Job) -> Measured:
    return Measured(bill=Bill(rows=[BillRow(label="sample", rounds=1)]), seconds=0.5)


def test_a_run_that_was_interrupted_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ran = tmp_path / "bench.jsonl", list[str]()

    def once(job: Job) -> Measured:
        ran.append(job.case.name)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return made(job)

    monkeypatch.setattr(running, "_run_once", once)
    jobs = jobs_of(CASES, "loopback", [LOOPBACK], 2)
    with pytest.raises(KeyboardInterrupt):
        _run(path, jobs)
    first = path.read_text()
    assert [each.case for each in read_records([path])] == [CASES[0].name]
    assert [each.case for each in _run(path, jobs)] == [CASES[1].name]
    assert path.read_text().startswith(first)
    assert ran == [CASES[0].name] * 2 + [CASES[1].name] * 3
    assert _run(path, jobs) == []
    more = jobs_of(CASES, "loopback", [LOOPBACK], 3)
    assert len(_run(path, more)) == 2, "records of fewer repetitions do not do"


def test_a_job_that_fails_leaves_a_record_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(job: Job) -> Measured:
        raise PeerTimeout("nobody there")

    path, jobs = tmp_path / "bench.jsonl", jobs_of(CASES, "loopback", [LOOPBACK], 1)
    monkeypatch.setattr(running, "_run_once", fails)
    assert [each.failed for each in _run(path, jobs)] == ["PeerTimeout: nobody there"] * 2
    assert _run(path, jobs) == []
    monkeypatch.setattr(running, "_run_once", made)
    assert [each.failed for each in _run(path, jobs, retry=True)] == ["", ""]


def test_a_bill_that_is_not_as_counted_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = [made(jobs) for jobs in jobs_of(CASES[:1], "loopback", [LOOPBACK], 1)]
    wrong = Measured(bill=measured[0].bill, seconds=0.5, off=["rounds: 2 measured, 1 counted"])
    runs = iter([*measured, wrong])
    monkeypatch.setattr(running, "_run_once", lambda job: next(runs))
    [of_two] = _run(tmp_path / "bench.jsonl", jobs_of(CASES[:1], "loopback", [LOOPBACK], 2))
    assert is_off(of_two)
    assert of_two.bill["notes"] == ["not exactly as counted: rounds: 2 measured, 1 counted"]


def test_a_record_has_what_it_takes_to_repeat_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_run_once", made)
    wan = NETWORKS["wan-400m"]
    [made_of] = _run(tmp_path / "bench.jsonl", jobs_of(CASES[:1], "emulated", [wan], 2))
    assert made_of.command == (
        "mpcinfer bench run operation/relu/fss/lookup/T4 --how emulated --network wan-400m --repeat 2"
    )
    assert (made_of.network, made_of.bandwidth, made_of.latency) == ("wan-400m", 400e6, 10e-3)
    assert made_of.plan_document["choices"]["relu"] == "lookup"
    assert made_of.versions["torch"]
    assert made_of.machine
    assert made_of.started
    assert "colludes with neither" in made_of.trust
    assert key_of(made_of) == wanted_key(CASES[0].name, "emulated", wan)


def _run(path: Path, jobs: list[Job], *, retry: bool = False) -> list[BenchRecord]:
    runner = Runner(Store(path), lambda *told: None, lambda *told: None)
    return runner.run(runner.missing(jobs, retry=retry))
