"""How matrices lie in ciphertexts: K columns of a left factor and M rows fill one, M K = N.

A[i, j] lies at X^(i K - j), of a right factor's column w_j at X^j, and their sums over j < K at X^(i K).
(Cheetah, USENIX Security 2022, section 3, with one column at a time.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.rlwe.kernels.transforms import Residues, Words
from protocols.rlwe.parameters import LEAST_ROWS, ROWS

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class MatrixShape:
    """Left factors [batch, rows, inner] times right factors [batch, inner, columns]."""

    batch: int
    rows: int
    inner: int
    columns: int


@dataclass(frozen=True)
class Tiles:
    """The cut of a product into ciphertexts of degree N.

    Attributes:
        outer: M, rows of a ciphertext.
        width: K, columns of the left factor in it; as many columns of the result are packed into one.
    """

    shape: MatrixShape
    degree: int

    @property
    def outer(self) -> int:
        """As few as hold all rows; more where that takes no more ciphertexts either way: fewer are packed."""
        outer = min(ROWS, max(LEAST_ROWS, 1 << (self.shape.rows - 1).bit_length()))
        while outer < ROWS and self._ciphertexts(2 * outer) == self._ciphertexts(outer):
            outer *= 2
        return outer

    def _ciphertexts(self, outer: int) -> tuple[int, int]:
        """For the columns of the left factor and of the result, where one holds so many rows."""
        width = self.degree // outer
        return -(-self.shape.inner // width), -(-self.shape.columns // width)

    @property
    def width(self) -> int:
        return self.degree // self.outer

    @property
    def slabs(self) -> list[tuple[int, int]]:
        """First and last row of each ciphertext's."""
        rows = self.shape.rows
        return [(row, min(row + self.outer, rows)) for row in range(0, rows, self.outer)]

    @property
    def parts(self) -> int:
        """Ciphertexts in a slab."""
        return -(-self.shape.inner // self.width)

    @property
    def groups(self) -> list[tuple[int, int]]:
        """First and last column of each answer's."""
        columns = self.shape.columns
        return [(column, min(column + self.width, columns)) for column in range(0, columns, self.width)]

    @property
    def queries(self) -> int:
        """Ciphertexts that are sent to the evaluator."""
        return self.shape.batch * len(self.slabs) * self.parts

    def laid_left(self, left: Words, ring_bits: int) -> Words:
        """Left factors as polynomials [queries, N] modulo 2^ring_bits."""
        batch, rows, inner = left.shape
        m, k = self.outer, self.width
        padded = np.zeros((batch, len(self.slabs) * m, self.parts * k), np.uint64)
        padded[:, :rows, :inner] = left
        blocks = padded.reshape(batch, len(self.slabs), m, self.parts, k).swapaxes(2, 3)
        polynomials = np.zeros((self.queries, self.degree), np.uint64)
        places = (np.arange(m)[:, None] * k - np.arange(k)) % self.degree
        polynomials[:, places.reshape(-1)] = blocks.reshape(self.queries, -1)
        polynomials[:, self.degree - k + 1 :] *= np.uint64((1 << 64) - 1)  # X^(-j) = -X^(N - j)
        return polynomials & np.uint64((1 << ring_bits) - 1)

    def laid_columns(self, right: Integers, primes: tuple[int, ...]) -> Residues:
        """Columns [inner, C] as [L, C, parts, K] modulo each prime."""
        inner, columns = right.shape
        out = np.zeros((len(primes), columns, self.parts * self.width), np.uint32)
        lines = np.ascontiguousarray(right.T)
        for target, prime in zip(out, primes, strict=True):
            target[:, :inner] = lines % prime
        return out.reshape(len(primes), columns, self.parts, self.width)
