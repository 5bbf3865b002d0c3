"""Products of linear layers ahead of the input, for several passes at once: the weights are read once.

What the client and the dealer multiply with weights are the client's masks, which follow from its seed and
from the program alone. With few rows a product takes as long as reading the weights, so those of the next
passes of the same length cost hardly more than those of one. Nothing of them leaves whoever computes them
before the pass that they are for.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, final

import torch

from parties.meter import CLIENT, Meter
from parties.randomness import Randomness
from protocols.fss.executors.preparation import Offline
from protocols.fss.preprocessing.encrypted import EncryptedProduct
from protocols.fss.preprocessing.matrix import Factor, Noted, Products
from protocols.meta_tensors import no_data
from protocols.tensors import drawn

PASSES = 4
"""Passes whose products are computed together."""
FEW_TOKENS = 2
"""Passes of more tokens are bound by arithmetic, and gain nothing."""


@final
class ProductsAhead:
    """Keeps products of passes to come.

    Args:
        walk: runs the program's offline step for so many tokens, and rows of results, after none.
        stream: what the client draws for linear layers in the pass of that number, from the start; None where
            no such pass can come.
        factor: as for `Products`.
        batch: sequences of every pass.
    """

    def __init__(
        self,
        walk: Callable[[Offline, int, int], Any],
        stream: Callable[[int], Randomness | None],
        factor: Factor,
        batch: int = 1,
    ) -> None:
        self._walk, self._stream, self._factor, self._batch = walk, stream, factor, batch
        self._size = (0, 0)
        self._ready: dict[int, deque[tuple[torch.Tensor, torch.Tensor]]] = {}

    def take(self, number: int, tokens: int, rows: int = 1) -> Products:
        """The products of a pass, computed with those of the passes after it where that pays.

        Args:
            number: of the pass; those before it are forgotten.
            tokens, rows: its length, and how many of them have results.
        """
        ready = self._ready.pop(number, None) if (tokens, rows) == self._size else None
        self._ready = {at: kept for at, kept in self._ready.items() if at > number}
        if ready is None and self._batch * tokens <= FEW_TOKENS:
            ready = self._compute(number, tokens, rows)
        return Products(self._factor, ready or deque())

    def _compute(
        self, number: int, tokens: int, rows: int
    ) -> deque[tuple[torch.Tensor, torch.Tensor]] | None:
        """Products of this pass, and of those after it as if they were as long; None for one pass alone."""
        streams = [stream for i in range(PASSES) if (stream := self._stream(number + i)) is not None]
        if len(streams) < 2:
            return None
        noted, batch = Noted(self._factor), self._batch
        self._walk(_SeveralPasses(streams, noted, batch), tokens, rows)
        self._size = (tokens, rows)
        self._ready = {
            number + i: deque(
                (x[i * batch : (i + 1) * batch], product[i * batch : (i + 1) * batch])
                for x, product in noted.made
            )
            for i in range(len(streams))
        }
        return self._ready.pop(number)


@final
class _SeveralPasses(Offline):
    """The client's offline step of several passes at once, along the first axis. Nothing is sent."""

    def __init__(self, streams: Sequence[Randomness], noted: Noted, batch: int) -> None:
        super().__init__(Meter(timed=False), CLIENT, noted)
        self._streams, self._batch = streams, batch

    def draw(self, shape: tuple[int, ...], bits: int) -> torch.Tensor:
        return torch.cat([drawn(stream, (self._batch, *shape[1:]), bits) for stream in self._streams])

    def dealt(self, shape: tuple[int, ...], bits: int) -> torch.Tensor:
        return no_data(shape)

    def send(self, arrays: Sequence[tuple[torch.Tensor, int]], reason: str) -> None:
        """What is sent is sent in the pass itself."""

    def encrypted(self, product: EncryptedProduct, known: torch.Tensor) -> torch.Tensor:
        raise AssertionError("products by encryption take both parties")

    def receive(self, shape: tuple[int, ...], bits: int, reason: str) -> torch.Tensor:
        raise AssertionError("the client receives nothing offline")
