"""A benchmark in a terminal: what is listed, what would be run, and how far it is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mpcinfer.benchmark.cases import Case
from mpcinfer.benchmark.links import networks_of
from mpcinfer.benchmark.record import BenchRecord
from mpcinfer.benchmark.runner import COUNTED, Job, Runner, is_off, jobs_of
from mpcinfer.benchmark.store import Store
from mpcinfer.cli.kernels import compile_kernels
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.suite import Suite
from parties.errors import ConfigError, MpcInferError

INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of `mpcinfer bench run`, as given."""

    how: str
    networks: tuple[str, ...]
    bandwidth: str | None
    latency: str | None
    repeat: int
    out: Path
    retry: bool
    dry_run: bool


def list_cases(cases: Sequence[Case]) -> None:
    """A name a line."""
    console = Console(highlight=False)
    for case in cases:
        console.print(case.name, markup=False, soft_wrap=True)


def run_cases(cases: Sequence[Case], options: Options) -> int:
    """Runs what the file of records lacks; the exit status.

    Raises:
        ConfigError: options that do not go together, or a file that cannot be used.
    """
    console = Console(stderr=True, highlight=False)
    networks = networks_of(list(options.networks), options.bandwidth, options.latency)
    if options.how == COUNTED and (options.networks or options.bandwidth):
        raise ConfigError("--how counted runs nothing, over no network")
    with console.status("counting"):
        jobs = jobs_of(cases, options.how, networks, options.repeat)
    if options.dry_run:
        _show_plan(console, jobs)
        return 0
    store = Store(options.out)
    if store.torn:
        console.print(f"{options.out}: the start of a line, from a run that was killed, was cut off")
    if options.how != COUNTED:
        compile_kernels(_suites(cases))
    with _Progress(console) as progress:
        runner = Runner(store, progress.begin, progress.done)
        left = runner.missing(jobs, retry=options.retry)
        progress.total, progress.there = len(jobs), len(jobs) - len(left)
        try:
            records = runner.run(left)
        except KeyboardInterrupt:
            progress.say(
                f"interrupted; {progress.there} of {len(jobs)} are in {options.out}. "
                "The same command goes on from there"
            )
            return INTERRUPTED
    console.print(f"{len(records)} new records, {len(jobs) - len(left)} were there: {options.out}")
    return 1 if any(is_off(record) for record in records) else 0


def _suites(cases: Sequence[Case]) -> list[Suite]:
    """Those of the cases, as far as there are any."""
    suites: dict[str, Suite] = {}
    for case in cases:
        try:
            suite = suite_of(case.chosen)
        except MpcInferError:
            continue  # its record will say so
        suites[suite.name] = suite
    return list(suites.values())


def _show_plan(console: Console, jobs: Sequence[Job]) -> None:
    """What would be run."""
    for job in jobs:
        about = f"cannot run: {job.failed}" if job.failed else f"about {_duration(job.predicted)}"
        where = " ".join(dict.fromkeys(("", job.how, job.network.name)))
        console.print(
            f"{job.case.name}{where.rstrip()}: {about if job.how != COUNTED else 'no run'}",
            markup=False,
            soft_wrap=True,
        )
    total = sum(job.predicted for job in jobs)
    console.print(f"{len(jobs)} records, about {_duration(total)} together on two cores", style="bold")


def _duration(seconds: float) -> str:
    """For people: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Progress:
    """A line a record, and under them what is run now, with the time left."""

    def __init__(self, console: Console) -> None:
        self._console, self.total, self.there = console, 0, 0
        self._live = Live(Text(""), console=console, transient=True, refresh_per_second=4)

    def __enter__(self) -> _Progress:
        self._live.start()
        return self

    def __exit__(self, *what: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Above the line that changes."""
        self._console.print(line, markup=False, soft_wrap=True)

    def begin(self, job: Job, done: int, left_s: float | None) -> None:
        """A job, or its next repetition."""
        run = f", run {done + 1} of {job.repeat}" if job.repeat > 1 else ""
        left = "" if left_s is None else f", about {_duration(left_s)} left"
        self._live.update(Text(f"{self.there + 1} of {self.total}: {job.case.name}{run}{left}"))

    def done(self, record: BenchRecord, left_s: float | None) -> None:
        """A record is on disk."""
        self.there += 1
        left = f" ({_duration(left_s)} left)" if left_s else ""
        self.say(f"{self.there} of {self.total}: {_said(record)}{left}")


def _said(record: BenchRecord) -> str:
    """A record in a line."""
    name = f"{record.case} {record.network}".strip()
    if record.failed:
        return f"{name}: failed: {record.failed}"
    bill = record.bill
    online = (bill["online_bytes_to_server"] + bill["online_bytes_to_client"]) / 1e6
    offline = (bill["offline_bytes_to_server"] + bill["offline_bytes_to_client"]) / 1e6
    words = f"{name}: {bill['rounds']} rounds, {online:,.3f} MB online, {offline:,.3f} MB offline"
    if record.seconds:
        words += f", {statistics.median(record.seconds):.3g} s"
        words += f", largest error {record.error['max']:.2g}" if record.error else ""
        words += f"; {bill['notes'][-1]}"
    return words
