"""One operation, or blocks with random weights, on CrypTen's primitives: both parties, a dealer meanwhile."""

from __future__ import annotations

import torch

from mpcinfer.backends.parts import needed_by_blocks
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import as_run
from mpcinfer.suites.additive.session import connected_executor
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.arithmetic.samples import INPUT, SAMPLES, Inputs
from mpcinfer.suites.task import Place, Task, TaskResult, blocks_in_float, random_weights, residual
from parties.bill import Bill
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from protocols.additive.correlations import Request
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.registry import resolve
from protocols.additive.schedule import Schedule
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.share import Share


def count_task(task: Task) -> Bill:
    """The counted rows of a task."""
    meter = Meter(timed=False)
    with torch.no_grad():
        _run(CountingArithmetic.of_plan(task.plan, meter), task, Inputs())
    return task.measured(meter.bill())


def run_task(link: Link, task: Task, place: Place) -> TaskResult:
    """A party's handshakes, setup and online run."""
    model, inputs = task.config.digest(), Inputs(rank=link.rank)
    with (
        torch.no_grad(),
        connected_executor(link, task.plan, model, place.keys, place.dealer, place.timeout_s) as executor,
    ):
        executor.prefetch(_requests(task))
        y = _run(executor, task, inputs)
        with executor.meter.span("output", "output"):
            output = executor.open_to(CLIENT, y)
    if output is None:
        return TaskResult(bill=link.meter.bill())
    expected = (
        SAMPLES[task.operation].expected(inputs.drawn[0])
        if task.operation
        else blocks_in_float(task.config, residual(task.config, task.tokens))
    )
    return TaskResult(bill=link.meter.bill(), output=output.double(), expected=expected)


def _requests(task: Task) -> list[Request]:
    """The correlations that it takes, in order: announced ahead, as sessions do."""
    schedule = Schedule()
    _run(CountingArithmetic.of_plan(task.plan, Meter(timed=False), schedule), task, Inputs())
    return list(schedule.requests)


def _run(executor: Arithmetic, task: Task, inputs: Inputs) -> Share:
    suite = resolve(task.plan)
    if task.operation:
        return SAMPLES[task.operation].run(executor, suite, task.config, task.tokens, inputs)[0]
    return _blocks(executor, task, inputs)


def _blocks(executor: Arithmetic, task: Task, inputs: Inputs) -> Share:
    own = random_weights(task.config) if inputs.rank == SERVER else None
    config, weights = as_run(task.config, own, folds=task.plan.fold)
    backend = SecureBackend(executor, resolve(task.plan), config.vocabulary)
    loaded = backend.load(config, weights, needed_by_blocks(config))
    shape, value = (1, task.tokens, config.width), None
    if inputs.rank == CLIENT:
        value = residual(task.config, task.tokens)
    with executor.meter.span(INPUT, INPUT):
        x = executor.share_from(CLIENT, value, shape)
    return Decoder(backend, config, loaded).blocks(x)
