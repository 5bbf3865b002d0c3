"""Training in several processes, each with a part of every batch, as `torchrun` starts them."""

# torch.distributed leaves parts of its interface without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from mpcinfer.training.gradients import Gradients
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that share a run; all do the same steps on different windows.

    Attributes:
        rank: of this process, from 0. Rank 0 alone writes files and speaks.
        count: processes in all.
    """

    rank: int = 0
    count: int = 1

    def part(self, windows: torch.Tensor) -> torch.Tensor:
        """This process's rows of a batch [B, T]; at least one.

        Raises:
            ConfigError: fewer windows than processes.
        """
        if windows.shape[0] < self.count:
            raise ConfigError(
                f"a batch of {windows.shape[0]} windows is too small for {self.count} processes"
            )
        return windows.tensor_split(self.count)[self.rank]

    def summed(self, gradients: Gradients) -> Gradients:
        """The sum over all processes, the same bits in each."""
        if self.count == 1:
            return gradients
        told = dict(zip(gradients.told, _summed(list(gradients.told.values())), strict=True))
        return Gradients(told, _summed(gradients.of))

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            distributed.barrier()


def _summed(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Tensors of one dtype, summed over processes in a single message."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


@contextmanager
def joined_processes() -> Generator[Processes, None, None]:
    """The processes that `torchrun` started this one among, joined over gloo; alone where it did not."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    distributed.init_process_group("gloo")
    try:
        yield Processes(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()
