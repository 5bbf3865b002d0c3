"""Runs cases one after the other and keeps a record of each; what is recorded already is not run again."""

from __future__ import annotations

import datetime
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mpcinfer.benchmark.cases import TASKS, Case
from mpcinfer.benchmark.links import reached_through
from mpcinfer.benchmark.machine import commit, machine, versions
from mpcinfer.benchmark.measured import Measured
from mpcinfer.benchmark.model_run import count_case, run_model
from mpcinfer.benchmark.network import LOOPBACK, Network
from mpcinfer.benchmark.predicted import predicted_seconds
from mpcinfer.benchmark.record import BenchRecord
from mpcinfer.benchmark.store import Store, wanted_key
from mpcinfer.benchmark.task_run import run_task
from mpcinfer.suites.registry import disclosures, suite_of
from mpcinfer.suites.suite import DEALER
from parties.bill import Bill
from parties.errors import ConfigError, MpcInferError
from protocols.plan import Plan
from protocols.trust import Security

HOW_RUN = ("counted", "loopback", "shaped", "emulated")
COUNTED, EXACT = "counted", "exactly as counted"
NOWHERE = Network(name="", bandwidth=LOOPBACK.bandwidth, latency=0.0)
"""The network of what is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One record to be made.

    Attributes:
        predicted: seconds, of its repetitions together; 0 for what is counted.
        failed: why it cannot be run, as far as that is known before.
    """

    case: Case
    how: str
    network: Network
    repeat: int
    predicted: float = 0.0
    failed: str = ""

    @property
    def command(self) -> str:
        """What makes this record again."""
        words = ["mpcinfer", "bench", "run", self.case.name, "--how", self.how]
        if self.network.name:
            words += _network_options(self.network)
        if self.how != COUNTED:
            words += ["--repeat", str(self.repeat)]
        return shlex.join(words)


def _network_options(network: Network) -> list[str]:
    if network.setting != "custom":
        return ["--network", network.name]
    bandwidth, latency = network.name.split("-")
    return ["--bandwidth", bandwidth, "--latency", latency]


def count_of(case: Case) -> Bill:
    """The counted bill of a case.

    Raises:
        ConfigError, RangeError: the plan cannot run it; or there is no such model, plan or variant.
    """
    if case.kind in TASKS:
        task = case.task
        return suite_of(task.plan).count_task(task)
    return count_case(case.model, case.plan, case.tokens, token=case.kind == "token")


def jobs_of(cases: Sequence[Case], how: str, networks: Sequence[Network], repeat: int) -> list[Job]:
    """A job a case and network, with predicted times; those that cannot be run say why.

    Raises:
        ConfigError: no such way to run, or networks that it cannot have.
    """
    if how not in HOW_RUN:
        raise ConfigError(f"--how is one of {', '.join(HOW_RUN)}, not {how!r}")
    if how == COUNTED:
        return [Job(case=case, how=how, network=NOWHERE, repeat=1) for case in cases]
    if how == "loopback" and any(network != LOOPBACK for network in networks):
        raise ConfigError("--how loopback adds no network; for one there are shaped and emulated")
    return [_job(case, how, network, repeat) for network in networks for case in cases]


def _job(case: Case, how: str, network: Network, repeat: int) -> Job:
    try:
        predicted = predicted_seconds(count_of(case).total, network, repeat)
    except MpcInferError as error:
        return Job(case=case, how=how, network=network, repeat=repeat, failed=str(error))
    return Job(case=case, how=how, network=network, repeat=repeat, predicted=predicted)


Tell = Callable[[Job, int, float | None], None]
"""Is told of a job that begins, how many of its repetitions are done, and about how many seconds all that is
left will take."""


class Runner:
    """Makes the records of jobs.

    Args:
        store: gets them, each as soon as it is there.
        tell: see `Tell`.
        done: is told of every record, and about how many seconds are left.
    """

    def __init__(self, store: Store, tell: Tell, done: Callable[[BenchRecord, float | None], None]) -> None:
        self._store, self._tell, self._done = store, tell, done
        self._machine, self._versions, self._commit = machine(), versions(), commit()

    def missing(self, jobs: Sequence[Job], *, retry: bool = False) -> list[Job]:
        """Those without a record of as many repetitions.

        Args:
            retry: also those that failed.
        """
        return [job for job in jobs if not self._is_there(job, retry=retry)]

    def _is_there(self, job: Job, *, retry: bool) -> bool:
        record = self._store.find(wanted_key(job.case.name, job.how, job.network))
        if record is None or (record.failed and retry):
            return False
        return bool(record.failed) or job.how == COUNTED or len(record.seconds) >= job.repeat

    def run(self, jobs: Sequence[Job]) -> list[BenchRecord]:
        """All of them; a job that fails leaves a record that says why, and the next one begins."""
        pace, records = _Pace(jobs), list[BenchRecord]()
        for job in jobs:
            self._tell(job, 0, pace.left_s)
            record = self._record(job, pace)
            self._store.add(record)
            records.append(record)
            pace.finish(job)
            self._done(record, pace.left_s)
        return records

    def _record(self, job: Job, pace: _Pace) -> BenchRecord:
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        runs, bill, failed, plan = list[Measured](), None, "", None
        try:
            plan = job.case.chosen
            if job.how == COUNTED:
                bill = count_of(job.case)
            else:
                for done in range(job.repeat):
                    self._tell(job, done, pace.left_s)
                    runs.append(_run_once(job))
                    pace.step(job)
        except MpcInferError as error:
            failed = f"{type(error).__name__}: {error}"
        if runs:
            bill = _agreed(runs)
        return self._filled(job, plan, bill, runs, failed, started)

    def _filled(
        self, job: Job, plan: Plan | None, bill: Bill | None, runs: list[Measured], failed: str, started: str
    ) -> BenchRecord:
        case, network = job.case, job.network
        return BenchRecord(
            case=case.name,
            kind=case.kind,
            plan=case.plan,
            plan_document=plan.to_json() if plan is not None else {},
            model=case.model,
            variant=case.variant,
            tokens=case.tokens,
            new_tokens=1 if case.kind in ("model", "token") else 0,
            shape=[] if failed else case.shape,
            how=job.how,
            network=network.name,
            bandwidth=network.bandwidth if network.bytes_per_s is not None else None,
            latency=network.latency,
            bill={} if bill is None else bill.to_json(),
            emulated_by=runs[0].emulated_by if runs else "",
            seconds=[run.seconds for run in runs],
            offline_seconds=[run.offline_seconds for run in runs if run.offline_seconds is not None],
            dealer_seconds=[run.dealer_seconds for run in runs if run.dealer_seconds is not None],
            setup_seconds=[run.setup_seconds for run in runs if run.setup_seconds is not None],
            error={} if not runs else {name: max(run.error[name] for run in runs) for name in runs[0].error},
            memory={name: max(run.memory.get(name, 0) for run in runs) for name in runs[0].memory}
            if runs
            else {},
            trust="" if plan is None else trust(plan),
            failed=failed,
            command=job.command,
            started=started,
            machine=self._machine,
            versions=self._versions,
            commit=self._commit,
        )


def is_off(record: BenchRecord) -> bool:
    """Whether a measured bill is not the counted one."""
    return any(str(note).startswith(f"not {EXACT}") for note in record.bill.get("notes", ()))


def trust(plan: Plan) -> str:
    """Who must be trusted under a plan, and what it discloses, in words."""
    helped = DEALER in suite_of(plan).helpers
    who = Security.SEMI_HONEST_DEALER.value if helped else "semi-honest parties"
    return "; ".join([who, *disclosures(plan)])


def _run_once(job: Job) -> Measured:
    case = job.case
    if case.kind not in TASKS:
        token = case.kind == "token"
        return run_model(case.model, case.plan, case.tokens, job.how, job.network, token=token)
    with reached_through(job.how, job.network) as through:
        return run_task(case.task, job.how, job.network, through)


def _agreed(runs: Sequence[Measured]) -> Bill:
    """The first repetition's bill, with a note whether all of them are as counted."""
    off = sorted({line for run in runs for line in run.off})
    note = f"not {EXACT}: {'; '.join(off)}" if off else EXACT
    return Bill(rows=runs[0].bill.rows, notes=[*runs[0].bill.notes, note])


class _Pace:
    """How much is left: predicted seconds, times what those done took over what was predicted of them."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._left = sum(job.predicted for job in jobs)
        self._predicted = self._taken = 0.0
        self._clock, self._of_job = time.monotonic(), 0.0

    @property
    def left_s(self) -> float | None:
        """None where nothing is known."""
        if not self._left:
            return None
        return self._left * (self._taken / self._predicted if self._predicted else 1.0)

    def step(self, job: Job) -> None:
        """A repetition is over."""
        now, share = time.monotonic(), job.predicted / job.repeat
        self._taken, self._clock = self._taken + now - self._clock, now
        self._predicted, self._left = self._predicted + share, self._left - share
        self._of_job += share

    def finish(self, job: Job) -> None:
        """A job is over, with or without all its repetitions."""
        self._left = max(0.0, self._left - (job.predicted - self._of_job))
        self._clock, self._of_job = time.monotonic(), 0.0
