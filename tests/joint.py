"""Whether bits that are seen together are independent: every pair, every triple, and linear relations.

Bits of many runs are taken as signs. Where they are fair and independent, the product of two or three of
them is a fair sign, afresh in every run, and its sum over all runs is binomial: z = sum / sqrt(runs).
`limit` is what the largest |z| of so many such sums reaches with probability ALARM, at most, whatever they
have to do with each other. A relation that holds in every run has |z| = sqrt(runs): with 72 runs that is
8.5, and the limit of five hundred million pairs is 7.5.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

ALARM = 1e-6
_TOGETHER = 2048
"""Columns of a block: its products take 16 megabytes."""
_CONSTANT = "a constant"


@dataclass(frozen=True, eq=False)
class Bits:
    """Bits of many runs.

    Attributes:
        signs: float32 [runs, bits], 1 for a bit that is 0 and -1 for a bit that is 1.
        names: of the bits.
    """

    signs: torch.Tensor
    names: Sequence[str]

    @classmethod
    def of(cls, bits: torch.Tensor, names: Sequence[str]) -> Bits:
        """From zeros and ones [runs, bits]."""
        assert bits.shape[1] == len(names)
        return cls(1.0 - 2.0 * bits.to(torch.float32), names)

    @property
    def runs(self) -> int:
        return self.signs.shape[0]

    def only(self, columns: Sequence[int]) -> Bits:
        """Some of them."""
        return Bits(self.signs[:, list(columns)], [self.names[i] for i in columns])


@dataclass(frozen=True)
class Relation:
    """The strongest relation that was found.

    Attributes:
        z: its |z|.
        limit: what independent bits stay below, nearly always.
        names: of the bits in it.
    """

    z: float
    limit: float
    names: tuple[str, ...]

    @property
    def is_found(self) -> bool:
        return self.z >= self.limit - 1e-3

    def __str__(self) -> str:
        return f"|z| = {self.z:.1f}, limit {self.limit:.1f}: {', '.join(self.names)}"


def limit(count: int, runs: int) -> float:
    """What the largest |z| of so many sums reaches with probability ALARM, at most."""
    allowed, ways, wrong = ALARM / count * 2.0 ** (runs - 1), 0, -1
    while ways + math.comb(runs, wrong + 1) <= allowed:
        wrong += 1
        ways += math.comb(runs, wrong)
    assert wrong >= 0, f"{runs} runs cannot tell {count} relations from chance"
    return (runs - 2 * wrong) / math.sqrt(runs)


def worst_pair(bits: Bits) -> Relation:
    """Of all pairs of bits, and of each bit with a constant: bits that are not fair are found as well."""
    signs = torch.cat([torch.ones(bits.runs, 1), bits.signs], dim=1)
    count = signs.shape[1]
    best, found = -1.0, (0, 0)
    for first, rows in _blocks(signs):
        for second, columns in _blocks(signs[:, first:]):
            z = (rows.T @ columns).abs_()
            if second == 0:
                z.fill_diagonal_(0.0)
            largest, at = z.max(), int(z.argmax())
            if float(largest) > best:
                best, found = float(largest), (first + at // z.shape[1], first + second + at % z.shape[1])
    names = tuple(bits.names[i - 1] if i else _CONSTANT for i in found)
    return Relation(best / math.sqrt(bits.runs), limit(math.comb(count, 2), bits.runs), names)


def worst_triple(bits: Bits) -> Relation:
    """Of all triples of bits."""
    count = bits.signs.shape[1]
    best, found = -1.0, (0, 0, 0)
    for i in range(count - 2):
        others = bits.signs[:, i + 1 :]
        z = ((others * bits.signs[:, i : i + 1]).T @ others).abs_().fill_diagonal_(0.0)
        at = int(z.argmax())
        if float(z.flatten()[at]) > best:
            best, found = float(z.max()), (i, i + 1 + at // z.shape[1], i + 1 + at % z.shape[1])
    names = tuple(bits.names[i] for i in found)
    return Relation(best / math.sqrt(bits.runs), limit(math.comb(count, 3), bits.runs), names)


def _blocks(signs: torch.Tensor) -> Generator[tuple[int, torch.Tensor]]:
    for start in range(0, signs.shape[1], _TOGETHER):
        yield start, signs[:, start : start + _TOGETHER]


SPARE_RUNS = 20
"""Runs beyond the number of bits: a random matrix lacks full rank with probability 2^-20, at most."""


def linear_relation(bits: Bits) -> tuple[str, ...]:
    """The names of bits whose sum over GF(2) is the same in all runs; none where there is no such sum.

    The first relation is found that there is, of any length; there must be `SPARE_RUNS` more runs than bits.
    """
    assert bits.signs.shape[1] + 1 + SPARE_RUNS <= bits.runs
    packed = [np.packbits(column).tobytes() for column in (bits.signs.T < 0).numpy()]
    constant = np.packbits(np.ones(bits.runs, np.uint8)).tobytes()
    basis: dict[int, tuple[int, int]] = {}  # by highest bit: a sum of columns, and which they are
    for number, column in enumerate([constant, *packed]):
        rest, which = int.from_bytes(column), 1 << number
        while rest and (known := basis.get(rest.bit_length())):
            rest, which = rest ^ known[0], which ^ known[1]
        if not rest:
            return tuple(name for i, name in enumerate(bits.names, 1) if which >> i & 1)
        basis[rest.bit_length()] = rest, which
    return ()
