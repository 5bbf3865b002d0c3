"""Tasks on the nodes of a Ray cluster, whose results come back piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from mpcinfer.service.ray_cluster import RayCluster
from parties.errors import ConfigError, MpcInferError

_PIECES_AHEAD = 4


class RayTasks:
    """Runs a function once a job, one core each, on whatever node has one free.

    What goes in and what comes out passes through Ray's object store: shared memory of the nodes, the network
    between them (plain text without TLS), and, where memory is short, Ray's spill folder on a node's disk. Of
    each task a few pieces are there at a time.
    """

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster = cluster

    def run(
        self, task: Callable[..., Iterable[Any]], jobs: Sequence[tuple[Any, ...]]
    ) -> Generator[tuple[int, Any], None, None]:
        """Pieces of all jobs, each with its job's number, those of one job in order.

        A task that fails is not run again: it would draw other randomness halfway.

        Args:
            task: of a module that all nodes have; makes pieces from a job's arguments.

        Raises:
            MpcInferError: what a task raised.
            ConfigError: a task failed otherwise, or its node is gone.
            InsecureRefused: the cluster has other machines by now, and no TLS.
        """
        self._cluster.require_private()
        ray = self._cluster.ray
        remote = ray.remote(task).options(
            num_cpus=1,
            max_retries=0,
            scheduling_strategy="SPREAD",
            num_returns="streaming",
            _generator_backpressure_num_objects=_PIECES_AHEAD,
        )
        running = {remote.remote(*job): number for number, job in enumerate(jobs)}
        try:
            while running:
                ready, _ = ray.wait(list(running), num_returns=1)
                for pieces in ready:
                    try:
                        piece = ray.get(next(pieces))
                    except StopIteration:
                        del running[pieces]
                        continue
                    yield running[pieces], piece
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, MpcInferError):
                raise cause from None
            raise ConfigError(f"a task on the Ray cluster failed: {type(cause or error).__name__}") from error
        finally:
            for pieces in running:
                ray.cancel(pieces, force=True)
