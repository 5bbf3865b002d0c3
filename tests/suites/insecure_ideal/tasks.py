"""Its one operation, and blocks, by themselves."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mpcinfer.models.config import weight_shapes
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.folded import folded_config
from mpcinfer.suites.entry import SAMPLE
from mpcinfer.suites.task import Task, TaskResult, blocks_in_float, normal, random_weights, residual
from parties.link import Link
from parties.meter import CLIENT, SERVER
from protocols.fixed_point import decode, encode
from tests.suites.insecure_ideal.backend import InsecureIdealBackend
from tests.suites.insecure_ideal.functionality import Functionality, InsecureParty

_FRAC_BITS = 16


def run_on(
    functionality: Functionality, task: Task, x: torch.Tensor, weights: Mapping[str, torch.Tensor] | None
) -> torch.Tensor:
    """The task on shares of its input: x times x, or the blocks."""
    backend, config = InsecureIdealBackend(functionality, client=True), folded_config(task.config)
    if task.operation:
        with functionality.meter.span(SAMPLE):
            return backend.mul(x, x)
    if weights is None:
        loaded = {name: torch.empty(shape, device="meta") for name, shape in weight_shapes(config).items()}
    else:
        loaded = backend.load(weights)
    return Decoder(backend, config, loaded).stack(x)


def task_over(link: Link, task: Task) -> TaskResult:
    """A party's part."""
    shape = (1, task.tokens, task.config.width)
    real = normal(1.0)(shape) if task.operation else residual(task.config, task.tokens)
    x = encode(real, _FRAC_BITS, "input") if link.rank == CLIENT else torch.zeros(shape, dtype=torch.int64)
    own = fold(task.config, random_weights(task.config))[1] if link.rank == SERVER else None
    party = InsecureParty(link)
    y = run_on(party, task, x, own)
    with link.meter.span("output"):
        opened = party.open_to_client(y)
    if opened is None:
        return TaskResult(bill=link.meter.bill())
    expected = real.double() ** 2 if task.operation else blocks_in_float(task.config, real)
    return TaskResult(bill=link.meter.bill(), output=decode(opened, _FRAC_BITS).double(), expected=expected)
