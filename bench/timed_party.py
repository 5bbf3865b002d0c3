"""A party that notes where its time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.executors.party import Party
from protocols.fss.preprocessing.correlations import Correlation, Shared
from protocols.fss.preprocessing.point_keys import KeyParts, PrefixKeys
from protocols.share import Share

T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True)
class Step:
    """One gate's run.

    Attributes:
        label: of the meter's span.
        gate: name of its class.
        seconds: all of it.
        reading: of that, taking key material.
        waiting: of that, until the other party's message was there and unpacked.
    """

    label: str
    gate: str
    seconds: float
    reading: float
    waiting: float


class TimedParty(Party):
    """A party with a list of steps. Arguments as of `Party`.

    Attributes:
        steps: what it did, in order.
    """

    def __init__(self, *what: Any, **options: Any) -> None:
        super().__init__(*what, **options)
        self.steps: list[Step] = []
        self._reading = self._waiting = 0.0

    def apply(self, gate: Gate, *inputs: Share) -> Shares:
        self._reading = self._waiting = 0.0
        started = time.perf_counter()
        results = super().apply(gate, *inputs)
        seconds = time.perf_counter() - started
        step = Step(self.meter.label, type(gate).__name__, seconds, self._reading, self._waiting)
        self.steps.append(step)
        return results

    def receive(self, arrays: Sequence[tuple[int, tuple[int, ...]]], reason: str) -> list[torch.Tensor]:
        started = time.perf_counter()
        received = super().receive(arrays, reason)
        self._waiting += time.perf_counter() - started
        return received

    def shared(self, item: Correlation) -> torch.Tensor:
        return self._read(super().shared, item)

    def packed(self, item: Correlation, sizes: Sequence[int]) -> Generator[NDArray[np.uint8]]:
        pieces = super().packed(item, sizes)
        for _ in sizes:
            yield self._read(next, pieces)

    def shared_together(self, correlations: tuple[Shared, ...]) -> torch.Tensor:
        return self._read(super().shared_together, correlations)

    def point_keys(self, item: Correlation) -> KeyParts:
        keys = super().point_keys(item)
        while (part := self._read(lambda left: next(left, None), keys)) is not None:
            yield part

    def prefix_keys(self, item: Correlation) -> PrefixKeys:
        return self._read(super().prefix_keys, item)

    def _read(self, take: Callable[[V], T], source: V) -> T:
        started = time.perf_counter()
        taken = take(source)
        self._reading += time.perf_counter() - started
        return taken
