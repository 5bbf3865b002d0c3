"""The ideal functionality, played by the server: INSECURE, it sees every value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.randomness import Randomness, SystemRandom
from parties.wire import spec_of
from protocols.tensors import drawn, to_tensor, to_words

BITS = 64
Function = Callable[..., torch.Tensor]


class Functionality(ABC):
    """Evaluates functions of additively shared values, int64 with sums modulo 2^64."""

    reveals = "shows every value to the server: INSECURE, for tests"
    meter: Meter

    @abstractmethod
    def evaluate(self, shape: torch.Size, function: Function, *shares: torch.Tensor) -> torch.Tensor:
        """Fresh shares of the function of the values; two messages, the values' and the result's size.

        Args:
            shape: of the result.
        """

    @abstractmethod
    def open_to_client(self, share: torch.Tensor) -> torch.Tensor | None:
        """The value at the client."""


class InsecureParty(Functionality):
    """One party over its link to the other."""

    def __init__(self, link: Link, randomness: Randomness | None = None) -> None:
        self._link, self.meter = link, link.meter
        self._randomness = randomness or SystemRandom()

    def evaluate(self, shape: torch.Size, function: Function, *shares: torch.Tensor) -> torch.Tensor:
        if self._link.rank == CLIENT:
            self._link.send([to_words(share) for share in shares], BITS)
            [result] = self._link.recv([spec_of(BITS, tuple(shape))])
            return to_tensor(result)
        received = self._link.recv([spec_of(BITS, tuple(share.shape)) for share in shares])
        values = [share + to_tensor(other) for share, other in zip(shares, received, strict=True)]
        result = function(*values)
        assert result.shape == shape, f"a result of shape {tuple(result.shape)}, announced {tuple(shape)}"
        mask = drawn(self._randomness, tuple(shape), BITS)
        self._link.send([to_words(mask)], BITS)
        return result - mask

    def open_to_client(self, share: torch.Tensor) -> torch.Tensor | None:
        if self._link.rank == SERVER:
            self._link.send([to_words(share)], BITS)
            return None
        [other] = self._link.recv([spec_of(BITS, tuple(share.shape))])
        return share + to_tensor(other)


class Counted(Functionality):
    """The same on shapes."""

    def __init__(self, meter: Meter) -> None:
        self.meter, self._depth = meter, 0

    def evaluate(self, shape: torch.Size, function: Function, *shares: torch.Tensor) -> torch.Tensor:
        self._charge(SERVER, sum(share.numel() for share in shares))
        self._charge(CLIENT, shape.numel())
        return torch.empty(shape, dtype=torch.int64, device="meta")

    def open_to_client(self, share: torch.Tensor) -> None:
        self._charge(CLIENT, share.numel())

    def _charge(self, receiver: int, elements: int) -> None:
        # What is opened at the end goes the way the last result went: no round of its own.
        self._depth += receiver == SERVER or self._depth % 2
        self.meter.charge_frame(
            receiver, payload_bytes=elements * BITS // 8, wire_bytes=0, depth=max(self._depth, 1)
        )
