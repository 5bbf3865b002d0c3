"""One party's keys of point functions, ready to be read at public points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from protocols.kernels import dpf, idpf
from protocols.kernels.aes import Hash
from protocols.kernels.lines import Lines
from protocols.kernels.truth_table import TruthTables
from protocols.kernels.window_table import WindowTable

Words = NDArray[np.uint64]


class PointKeys(ABC):
    """Keys of a `Dpf` correlation. Every point function can be read at any number of public points."""

    @abstractmethod
    def prefix_parity(self, points: Words) -> NDArray[np.uint8]:
        """XOR shares of 1{alpha <= x} at points uint64 [P, elements]; see `dpf.prefix_parity`."""

    @abstractmethod
    def window_lookup(
        self, first: Words, table: WindowTable, which: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """The sum of what a window's bits select; see `dpf.window_lookup`.

        Party 0's sum less party 1's is the entry at alpha, or minus it.
        """


@final
@dataclass(frozen=True, slots=True, eq=False)
class TreeKeys(PointKeys):
    """Keys of distributed point functions: the common correction words and this party's roots."""

    rank: int
    common: dpf.DpfKeys
    root: Words
    hash: Hash

    def prefix_parity(self, points: Words) -> NDArray[np.uint8]:
        return dpf.prefix_parity(self.rank, self.common, self.root, points, self.hash)

    def window_lookup(
        self, first: Words, table: WindowTable, which: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        return dpf.window_lookup(self.rank, self.common, self.root, first, table, self.hash, which)


@final
@dataclass(frozen=True, slots=True, eq=False)
class TableKeys(PointKeys):
    """Whole truth tables, of small domains."""

    tables: TruthTables

    def prefix_parity(self, points: Words) -> NDArray[np.uint8]:
        return self.tables.prefix_parity(points)

    def window_lookup(
        self, first: Words, table: WindowTable, which: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        return self.tables.window_lookup(first, table, which)


@final
@dataclass(frozen=True, slots=True, eq=False)
class PrefixKeys:
    """Keys of an `Idpf` correlation: incremental point functions, whose prefixes have additive shares."""

    rank: int
    common: idpf.IdpfKeys
    root: Words
    hash: Hash

    def prefix_sum(self, points: Words) -> NDArray[np.int64]:
        """Shares of 1{alpha <= x} at points uint64 [P, elements]; see `idpf.prefix_sum`."""
        return idpf.prefix_sum(self.rank, self.common, self.root, points, self.hash)

    def line_lookup(self, lines: Lines) -> NDArray[np.int64]:
        """Shares of where alpha's prefixes lie on lines; see `idpf.line_lookup`."""
        return idpf.line_lookup(self.rank, self.common, self.root, lines, self.hash)

    def at(self, points: Words) -> NDArray[np.int64]:
        """Shares of 1{alpha = x} at a point uint64 [elements] each; see `idpf.range_lookup`."""
        one = np.ones(1, np.int64)
        return idpf.range_lookup(
            self.rank, self.common, self.root, self.common.bits, points, 1, one, self.hash
        )


KeyParts = Generator[tuple[slice, PointKeys]]
"""Keys of some elements after those of others."""


def read_all(
    keys: KeyParts, count: int, read: Callable[[PointKeys, slice], Sequence[torch.Tensor]]
) -> list[torch.Tensor]:
    """What is read of the keys of so many elements: tensors int64 [count], as many as `read` returns.

    Args:
        read: of the keys of some elements, and which elements these are.
    """
    results: list[torch.Tensor] = []
    for part, some in keys:
        found = read(some, part)
        if part == slice(0, count):
            results = list(found)
            continue
        results = results or [torch.empty(count, dtype=torch.int64) for _ in found]
        for whole, piece in zip(results, found, strict=True):
            whole[part] = piece
    return results
