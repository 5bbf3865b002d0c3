"""One operation, or blocks with random weights, on an executor of additive shares."""

from __future__ import annotations

from mpcinfer.backends.parts import needed_by_blocks
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import as_run
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.arithmetic.samples import INPUT, SAMPLES, Inputs
from mpcinfer.suites.task import Task, TaskResult, blocks_in_float, random_weights, residual
from parties.link import Link
from parties.meter import CLIENT, SERVER
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.suite import Suite
from protocols.share import Share


def run_on(executor: Arithmetic, suite: Suite, task: Task, inputs: Inputs) -> Share:
    """The task's result, on shares or on shapes."""
    if task.operation:
        return SAMPLES[task.operation].run(executor, suite, task.config, task.tokens, inputs)[0]
    return _blocks(executor, suite, task, inputs)


def result_over(link: Link, executor: Arithmetic, suite: Suite, task: Task) -> TaskResult:
    """A party's online run, with the result opened to the client."""
    inputs = Inputs(rank=link.rank)
    y = run_on(executor, suite, task, inputs)
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


def _blocks(executor: Arithmetic, suite: Suite, task: Task, inputs: Inputs) -> Share:
    own = random_weights(task.config) if inputs.rank == SERVER else None
    config, weights = as_run(task.config, own, folds=task.plan.fold)
    backend = SecureBackend(executor, suite, config.vocabulary)
    loaded = backend.load(config, weights, needed_by_blocks(config))
    shape, value = (1, task.tokens, config.width), None
    if inputs.rank == CLIENT:
        value = residual(task.config, task.tokens)
    with executor.meter.span(INPUT, INPUT):
        x = executor.share_from(CLIENT, value, shape)
    return Decoder(backend, config, loaded).blocks(x)
