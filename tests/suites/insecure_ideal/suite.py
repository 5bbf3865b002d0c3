"""A third suite, without a dealer: to test that a suite is one folder and one registration. INSECURE."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.parts import needed
from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.fold import fold
from mpcinfer.models.model import Model
from mpcinfer.prefix.adapter import PrefixAdapter
from mpcinfer.sessions.session import PrivateSession
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.entry import SAMPLE, Entry, SampleCost, StatedError, summary_of
from mpcinfer.suites.requests import Run
from mpcinfer.suites.suite import Suite
from mpcinfer.suites.task import Place, Task, TaskResult
from parties.bill import Bill
from parties.link import Link
from parties.meter import Meter
from protocols.plan import Plan
from tests.suites.insecure_ideal.backend import InsecureIdealBackend
from tests.suites.insecure_ideal.functionality import Counted, Functionality
from tests.suites.insecure_ideal.session import insecure_session
from tests.suites.insecure_ideal.tasks import run_on, task_over

NAME = "insecure-ideal"


class InsecureIdealSuite(Suite):
    """The server evaluates every function on values that it sees."""

    name = NAME
    plans: ClassVar[Mapping[str, Plan]] = {NAME: Plan(name=NAME, suite=NAME, choices={"function": "ideal"})}
    helpers = ()

    @property
    def operations(self) -> Mapping[str, Mapping[str, object]]:
        return {"function": {"ideal": Functionality}}

    def count(self, plan: Plan, run: Run) -> Bill:
        meter, config = Meter(timed=False), run.config
        backend, names = InsecureIdealBackend(Counted(meter), client=True), needed(config, run.part)
        weights = {name: _shape(*shape) for name, shape in weight_shapes(config).items() if name in names}
        decoder, cache = Decoder(backend, config, weights), KVCache[torch.Tensor]()
        for each in run.passes:
            cache.rewind(each.start, backend.first_tokens)
            if run.part == "all":
                logits = decoder.forward(_shape(1, each.tokens), each.tokens, cache=cache, rows=each.rows)
                backend.open_logits(logits)
                continue
            if run.part == "embedding":
                decoder.embedding(_shape(1, each.tokens), each.start)
            elif run.part == "stack":
                decoder.stack(_shape(1, each.tokens, config.width), start=each.start, cache=cache)
            else:
                decoder.head(_shape(1, each.rows, config.width))
            cache.length += each.tokens
        return meter.bill()

    def reference(
        self,
        model: Model,
        plan: Plan,
        *,
        max_context: int | None = None,
        prefix: PrefixAdapter | None = None,
    ) -> Decoder[Any, Any]:
        self.require_prefix(plan, model.config, prefix and prefix.features)
        config, weights = fold(model.config, model.weights)
        backend = FixedBackend()
        return Decoder(backend, config, backend.load(weights))

    def count_task(self, task: Task) -> Bill:
        meter = Meter(timed=False)
        run_on(Counted(meter), task, _shape(1, task.tokens, task.config.width), None)
        return task.measured(meter.bill())

    def run_task(self, link: Link, task: Task, place: Place) -> TaskResult:
        return task_over(link, task)

    def entries(self, config: ModelConfig, tokens: int) -> list[Entry]:
        meter = Meter(timed=False)
        backend, x = InsecureIdealBackend(Counted(meter), client=True), _shape(1, tokens, config.width)
        with meter.span(SAMPLE):
            backend.mul(x, x)
        return [
            Entry(
                suite=NAME,
                operation="function",
                name="ideal",
                summary=summary_of(Functionality),
                security="none",
                cost=SampleCost.of(meter.bill(), x.numel(), "element"),
                error=StatedError(0.0),
                source="",
                reveals=Functionality.reveals,
            )
        ]

    def open(self, link: Link, session_config: SessionConfig) -> AbstractContextManager[PrivateSession]:
        return insecure_session(link, session_config)


def _shape(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.int64, device="meta")
