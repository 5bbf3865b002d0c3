"""One-hot vectors at points the dealer knows, shared whole: smaller than function keys on small domains."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.correlations import Packed, Shape
from protocols.kernels.entries import Layout, add_one, entries_at
from protocols.tensors import to_tensor, to_words

PIECE_BYTES = 1 << 20
"""Bytes of vectors that are in memory at once, so that they stay in cache."""


@final
@dataclass(frozen=True, slots=True)
class OneHots:
    """For every element of a shape a vector of 2^domain_bits entries: the server's part minus the client's.

    All is modulo 2^value_bits. The client draws its part, uniform; the server is sent the same with 1 added
    to one entry, 2^domain_bits value_bits bits a vector, in the planes of `entries`.

    Attributes:
        domain_bits: 3 or more.
        value_bits: 1 to 16.
    """

    shape: Shape
    domain_bits: int
    value_bits: int

    @property
    def layout(self) -> Layout:
        """The layout of a vector."""
        return Layout(self.domain_bits, self.value_bits)

    @property
    def item(self) -> Packed:
        """What it takes of the dealer."""
        return Packed(math.prod(self.shape) * self.layout.vector_bytes)

    def deal(self, dealing: DealerSide, points: torch.Tensor) -> None:
        """Hands out vectors that are 1 at these points, taken modulo 2^domain_bits."""
        layout, flat = self.layout, to_words(points).reshape(-1)
        at_once = max(1, PIECE_BYTES // layout.vector_bytes)
        sizes = [min(at_once, flat.size - start) for start in range(0, flat.size, at_once)]
        done = 0

        def complement(drawn: NDArray[np.uint8]) -> None:
            nonlocal done
            vectors = drawn.reshape(-1, layout.vector_bytes)
            add_one(vectors, flat[done : done + len(vectors)], layout)
            done += len(vectors)

        dealing.packed(self.item, [size * layout.vector_bytes for size in sizes], complement)

    def rows(
        self, party: PartySide, starts: NDArray[np.int64]
    ) -> Generator[tuple[int, int, NDArray[np.uint8]]]:
        """This party's part, some rows of vectors at a time, until all are taken.

        Args:
            starts: where rows begin among the vectors, 0 first, and last how many vectors there are.

        Yields:
            First row, last row plus 1, and their vectors, uint8 [vectors, bytes].
        """
        size = self.layout.vector_bytes
        cuts = _cuts(starts, max(1, PIECE_BYTES // size))
        sizes = [int(starts[last] - starts[first]) * size for first, last in pairwise(cuts)]
        pieces = party.packed(self.item, sizes)
        for (first, last), piece in zip(pairwise(cuts), pieces, strict=True):
            yield first, last, piece.reshape(-1, size)

    def at(self, party: PartySide, points: torch.Tensor) -> torch.Tensor:
        """This party's additive share of the entries at public points, one a vector."""
        (packed,) = party.packed(self.item, [self.item.size_bytes])
        entry = entries_at(
            packed.reshape(-1, self.layout.vector_bytes), to_words(points).reshape(-1), self.layout
        )
        return (party.first - party.rank) * to_tensor(entry.view(np.uint64)).reshape(points.shape)


def _cuts(starts: NDArray[np.int64], most: int) -> Sequence[int]:
    """Rows at which to cut so that no part has more than so many vectors, unless a row has."""
    rows, cuts = len(starts) - 1, [0]
    while cuts[-1] < rows:
        limit = int(starts[cuts[-1]]) + most
        fitting = int(np.searchsorted(starts, limit, side="right")) - 1
        cuts.append(min(rows, max(fitting, cuts[-1] + 1)))
    return cuts
