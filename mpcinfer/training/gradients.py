"""Loss and gradients of a batch, its parts computed side by side on processor cores.

A core takes a part of the batch through the whole model and meets the others once a step. Splitting every
operation among cores instead makes them meet some hundred times a step, which is slow where the machine has
other work to do.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


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
        self, loss: Loss, weights: list[torch.nn.Parameter], inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[float, list[torch.Tensor]]:
        """Mean loss over a batch and its gradient for each weight.

        Args:
            loss: mean loss of inputs and targets, [b, T] each, as a function of the weights.
            weights: what to differentiate by.
            inputs: token ids [B, T], split along B.
            targets: token ids [B, T].
        """

        def part(chunk: tuple[torch.Tensor, torch.Tensor]) -> tuple[float, list[torch.Tensor]]:
            share = chunk[0].shape[0] / inputs.shape[0]
            value = loss(*chunk) * share
            return value.item(), list(torch.autograd.grad(value, weights))

        chunks = list(zip(inputs.chunk(self.workers), targets.chunk(self.workers), strict=True))
        results = (
            [part(chunk) for chunk in chunks] if self._pool is None else list(self._pool.map(part, chunks))
        )
        total, sums = results[0]
        for value, gradients in results[1:]:
            total += value
            sums = [before + gradient for before, gradient in zip(sums, gradients, strict=True)]
        return total, sums
