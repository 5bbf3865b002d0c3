"""Loss and gradients of a batch, its parts computed side by side on processor cores or one after another.

A core takes a part of the batch through the whole model and meets the others once a step. Splitting every
operation among cores instead makes them meet some hundred times a step, which is slow where the machine has
other work to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class BatchLoss:
    """What to minimise over some windows, and what to tell of it.

    Attributes:
        total: a scalar to differentiate; that of a batch is the mean of its parts', weighted by windows.
        told: tensors without gradient, of which the same holds.
    """

    total: torch.Tensor
    told: Mapping[str, torch.Tensor]


Loss = Callable[..., BatchLoss]


@dataclass(frozen=True, slots=True)
class Gradients:
    """A batch's `BatchLoss.told`, in float64, and a gradient for each weight."""

    told: dict[str, torch.Tensor]
    of: list[torch.Tensor]

    def __add__(self, other: Gradients) -> Gradients:
        told = {name: value + other.told[name] for name, value in self.told.items()}
        return Gradients(told, [a + b for a, b in zip(self.of, other.of, strict=True)])


class GradientWorkers:
    """A number of threads, each of which computes the gradients of a part of the batch.

    Results depend on the number of workers in the last digits only: sums are taken in another order, the
    same at every run.
    """

    def __init__(self, workers: int) -> None:
        """One worker runs in the calling thread; several each run on one core.

        Several workers set torch's number of threads to 1 for the whole process.
        """
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        if workers > 1:
            torch.set_num_threads(1)

    def gradients(
        self,
        loss: Loss,
        weights: list[torch.nn.Parameter],
        *batch: torch.Tensor,
        windows: int | None = None,
        parts: int = 1,
    ) -> Gradients:
        """What `loss` tells of a batch, and its gradient for each weight.

        Args:
            loss: of some windows, as a function of the weights: takes as many tensors as the batch has.
            weights: what to differentiate by.
            batch: token ids of inputs and targets [B, T], and what else there is of every window; all are
                split along B.
            windows: of the whole batch that these are a part of; the result is this part's contribution to
                the mean. None where they are the whole.
            parts: micro-batches, computed one after another.
        """
        whole = batch[0].shape[0] if windows is None else windows

        def part(chunk: tuple[torch.Tensor, ...]) -> Gradients:
            share = chunk[0].shape[0] / whole
            value = loss(*chunk)
            gradients = torch.autograd.grad(value.total * share, weights)
            told = {name: number.double() * share for name, number in value.told.items()}
            return Gradients(told, list(gradients))

        total: Gradients | None = None
        for micro in zip(*(tensor.chunk(parts) for tensor in batch), strict=True):
            chunks = list(zip(*(tensor.chunk(self.workers) for tensor in micro), strict=True))
            for result in map(part, chunks) if self._pool is None else self._pool.map(part, chunks):
                total = result if total is None else total + result
        assert total is not None
        return total
