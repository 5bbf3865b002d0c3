"""A peer's task on an executor of additive shares, whatever the suite."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from bench.peers.tasks import Task, block_of
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import as_run
from mpcinfer.suites.arithmetic.backend import SecureBackend
from parties.meter import Phase
from protocols.arithmetic.weight import Weight
from protocols.share import Share

_EPS = 1e-5


def loaded(backend: SecureBackend, task: Task, *, own: bool) -> dict[str, Weight]:
    """The server's weights, in the setup; `own` at the server."""
    executor = backend.executor
    if task.kind == "block":
        config, weights = as_run(*block_of(task.name), folds=True)
        of_the_block = {name for name in weights if name.startswith("layer")}
        return backend.load(config, weights if own else None, of_the_block)
    weights = {name: torch.from_numpy(value) for name, value in task.inputs.weights.items()}
    with executor.meter.phase(Phase.SETUP), executor.meter.span("setup", "setup"):
        return {
            name: executor.weight(name, value if own else None, value.shape)
            for name, value in weights.items()
        }


def run_task(backend: SecureBackend, task: Task, weights: Mapping[str, Weight], x: Share) -> Share:
    executor, suite = backend.executor, backend.suite
    with torch.no_grad(), executor.meter.span(task.name, task.name):
        match task.name:
            case "matmul":
                return executor.linear(x, weights["weight"])
            case "relu":
                return suite.relu(executor, x)
            case "gelu":
                return suite.gelu(executor, x)
            case "softmax":
                return suite.softmax(executor, x, 0)
            case "layernorm":
                with backend.at(0, "norm1"):
                    return backend.norm(x, None, None, "layernorm", _EPS)
            case _:
                config, _ = as_run(block_of(task.name)[0], None, folds=True)
                return Decoder(backend, config, weights).stack(x)
