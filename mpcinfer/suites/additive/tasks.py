"""One operation, or blocks, on CrypTen's primitives: both parties, a dealer meanwhile."""

from __future__ import annotations

import torch

from mpcinfer.suites.additive.session import connected_executor
from mpcinfer.suites.arithmetic.samples import Inputs
from mpcinfer.suites.arithmetic.tasks import result_over, run_on
from mpcinfer.suites.task import Place, Task, TaskResult
from parties.bill import Bill
from parties.link import Link
from parties.meter import Meter
from protocols.additive.correlations import Request
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.registry import resolve
from protocols.additive.schedule import Schedule


def count_task(task: Task) -> Bill:
    """The counted rows of a task."""
    meter = Meter(timed=False)
    with torch.no_grad():
        run_on(CountingArithmetic.of_plan(task.plan, meter), resolve(task.plan), task, Inputs())
    return task.measured(meter.bill())


def run_task(link: Link, task: Task, place: Place) -> TaskResult:
    """A party's handshakes, setup and online run."""
    model = task.config.digest()
    with (
        torch.no_grad(),
        connected_executor(link, task.plan, model, place.keys, place.dealer, place.timeout_s) as executor,
    ):
        executor.prefetch(_requests(task))
        return result_over(link, executor, resolve(task.plan), task)


def _requests(task: Task) -> list[Request]:
    """The correlations that it takes, in order: announced ahead, as sessions do."""
    schedule = Schedule()
    counting = CountingArithmetic.of_plan(task.plan, Meter(timed=False), schedule)
    run_on(counting, resolve(task.plan), task, Inputs())
    return list(schedule.requests)
