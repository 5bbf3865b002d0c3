"""One operation, or blocks, between two parties and nobody else."""

from __future__ import annotations

import torch

from mpcinfer.models.folded import folded_config
from mpcinfer.sessions.session_config import greet
from mpcinfer.suites.arithmetic.samples import Inputs
from mpcinfer.suites.arithmetic.tasks import result_over, run_on
from mpcinfer.suites.task import Task, TaskResult
from mpcinfer.suites.two_party.ring import UNCALIBRATED_RING, ring_bits
from parties.bill import Bill
from parties.link import Link
from parties.meter import Meter
from protocols.two_party.correlations import Request
from protocols.two_party.counting import CountingArithmetic
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.primitives import FRAC_BITS
from protocols.two_party.registry import resolve
from protocols.two_party.source import TwoPartySource


def count_task(task: Task) -> Bill:
    """The counted rows of a task."""
    meter, executor = _counted(task)
    executor.settle()
    return task.measured(meter.bill())


def run_task(link: Link, task: Task) -> TaskResult:
    """A party's handshake, correlations and online run."""
    with torch.no_grad():
        greet(link, task.plan.digest(), task.config.digest())
        source = TwoPartySource(link)
        source.announce(requests_of(task))
        executor = TwoPartyArithmetic(link, source, _ring(task), FRAC_BITS)
        return result_over(link, executor, resolve(task.plan), task)


def requests_of(task: Task) -> list[Request]:
    """The correlations that a task takes, in order."""
    return _counted(task)[1].requests


def _counted(task: Task) -> tuple[Meter, CountingArithmetic]:
    meter = Meter(timed=False)
    executor = CountingArithmetic(meter, _ring(task), FRAC_BITS)
    with torch.no_grad():
        run_on(executor, resolve(task.plan), task, Inputs())
    return meter, executor


def _ring(task: Task) -> int:
    if task.operation:
        return UNCALIBRATED_RING
    config = folded_config(task.config) if task.plan.fold else task.config
    return ring_bits(config, None)
