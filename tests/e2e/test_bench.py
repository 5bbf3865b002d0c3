"""`mpcinfer bench` with real processes: measured, killed, gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpcinfer.benchmark.record import BenchRecord, read_records
from mpcinfer.benchmark.runner import EXACT
from tests.deadlines import HANG_S

pytestmark = pytest.mark.e2e
QUICK = ("operation/truncation/fss/free/T4", "operation/truncation/fss/faithful/T4")


def command(out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "mpcinfer", "bench", *words, "--repeat", "1", "--out", str(out)]


def bench(out: Path, *words: str) -> list[BenchRecord]:
    done = subprocess.run(
        command(out, *words), capture_output=True, text=True, timeout=10 * HANG_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(read_records([out]))


def check(record: BenchRecord, most: float) -> None:
    assert not record.failed
    assert record.bill["notes"][-1] == EXACT
    assert len(record.seconds) == 1
    assert 0 < record.error["max"] < most
    assert {"server", "client"} <= set(record.memory)


def test_an_operation_is_measured_by_processes(tmp_path: Path) -> None:
    [record] = bench(tmp_path / "bench.jsonl", QUICK[0])
    check(record, 1e-3)
    assert record.dealer_seconds


@pytest.mark.long
@pytest.mark.parametrize(
    ("case", "most"),
    [
        ("operation/gelu/crypten/piecewise/T4", 0.01),
        ("block/gpt2/SM+LN+G/crypten/T4", 0.05),
        ("block/gpt2/SM+ScFuFFN/fss/T4", 0.05),
        ("model/tiny-python/fss/T8", 0.5),
        ("token/tiny-python/crypten/T8", 0.5),
    ],
)
def test_everything_else_is(case: str, most: float, tmp_path: Path) -> None:
    [record] = bench(tmp_path / "bench.jsonl", case)
    check(record, most)


@pytest.mark.long
def test_a_shaped_channel_takes_its_latency(tmp_path: Path) -> None:
    words = ("--how", "shaped", "--bandwidth", "100Mbit", "--latency", "50ms")
    [record] = bench(tmp_path / "bench.jsonl", QUICK[1], *words)
    check(record, 1e-3)
    assert record.seconds[0] >= 2 * 0.05
    assert record.network == "100Mbit-50ms"


@pytest.mark.long
def test_a_killed_run_goes_on_and_leaves_no_process_behind(tmp_path: Path) -> None:
    out = tmp_path / "bench.jsonl"
    running = subprocess.Popen(command(out, *QUICK), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10 * HANG_S
    while not (out.exists() and out.read_bytes().endswith(b"\n")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    first = out.read_bytes()
    out.write_bytes(first + b'{"case": "oper')
    assert [record.case for record in bench(out, *QUICK)] == list(QUICK)
    assert out.read_bytes().startswith(first)
