"""A benchmark record: one self-describing line of JSON."""

from __future__ import annotations

import datetime
import json
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mpcinfer.benchmark.machine import kernels, machine

RECORDS = Path(__file__).parent / "records"


def _today() -> str:
    return datetime.date.today().isoformat()


def commit() -> str:
    """The sources' commit, in short."""
    result = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or "unknown"


_commit = commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was run, on what, and what it cost.

    Attributes:
        case: name of the benchmark case.
        plan: name of the plan.
        measured: True for a run, False for a counted bill.
        bill: the bill in `Bill.to_json`'s form.
        seconds: wall time of each repetition, one a run; empty when counted.
        error: largest and mean absolute error against the float model, where there is one.
        extra: what only this case has.
        machine: processor, cores and Python.
        kernels: set, target and features, which older records do not have.
    """

    case: str
    plan: str
    model: str
    tokens: int
    measured: bool
    bill: dict[str, Any]
    seconds: list[float] = field(default_factory=list[float])
    error: dict[str, float] = field(default_factory=dict[str, float])
    network: str = "in-process"
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    commit: str = field(default_factory=_commit)
    machine: str = field(default_factory=machine)
    kernels: dict[str, Any] = field(default_factory=kernels)
    date: str = field(default_factory=_today)

    def append(self, path: Path) -> None:
        """Adds this record as one line to a file."""
        _append(asdict(self), path)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRecord:
    """How fast one kernel ran, in one thread.

    Attributes:
        kernel: name of the kernel and its sizes.
        rate: work a second in the best of all runs.
        unit: what the rate counts, without the second.
        seconds: the best run's time on the processor.
        machine, kernels: as in `Record`. Older records say `implementation` instead of the latter.
    """

    kernel: str
    rate: float
    unit: str
    seconds: float
    commit: str = field(default_factory=_commit)
    machine: str = field(default_factory=machine)
    kernels: dict[str, Any] = field(default_factory=kernels)
    date: str = field(default_factory=_today)

    def append(self, path: Path) -> None:
        """Adds this record as one line to a file."""
        _append(asdict(self), path)


def latest(file: str, plan: str, case: str = "", **where: Any) -> dict[str, Any] | None:
    """The newest record of a plan, and of a case where a file has several; None where there is none.

    Args:
        file: name of the file of records.
        where: what other fields must be: tokens=128.
    """
    wanted = {"plan": plan, **({"case": case} if case else {}), **where}
    lines = reversed((RECORDS / file).read_text().splitlines())
    return next((each for line in lines if wanted.items() <= (each := json.loads(line)).items()), None)


def _append(record: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
