"""exp of minus a masked index by a table of few cells, times what the dealer knows of the rest."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from functools import lru_cache
from typing import final

import numpy as np
import torch

from parties.errors import ConfigError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.gates.lookup import Lookup
from protocols.fss.gates.lookup_exponential import ExponentialGate
from protocols.fss.tables.cells import Cells
from protocols.fss.tables.tables import Table
from protocols.share import Share

FACTOR_FRAC = 12
"""Fraction bits of the dealer's factor."""
_TABLE_FRAC = 1
"""Fraction bits that the table has beyond the result's: the factor is up to exp(1/2)."""


@final
class SplitExponential(ExponentialGate):
    """exp(-z) of a masked index z >= low, as an additive share; z is a row's maximum minus a score, say.

    1. z = j + a - b, j a cell of width 1, a public and b the dealer's, both from 0 to below 1 (`cells.py`).
    2. One look-up opens V = s exp(-(j + a - 1/2)), from a table with a row for every a, under a mask; s is a
       sign of the dealer's. The table ends where it rounds to 0.
    3. exp(-z) = s exp(b - 1/2) V, and s exp(b - 1/2) is a number that the dealer knows, so this takes three
       shared secrets. The result has `extra_bits` more fraction bits than was asked for, in a ring as much
       wider.

    Args:
        ring_bits, frac_bits: of the result, `extra_bits` aside.
        index_bits: k: z < 2^(k - 1 - index_frac), and -low less than that.
        index_frac: fraction bits of the index, at least 1.
        low: the least z that occurs, negative or not. For what is less the reference raises RangeError.

    Inputs: an index, or several, a result each: what they open travels together.

    Raises:
        ConfigError: the index does not reach that low, or the table does not fit the result's ring.

    Error: |y - exp(-z)| <= exp(-z) 2^-FACTOR_FRAC e^(1/2) / 2 + 2^-(frac_bits + 2) e^(1/2), for z as the
        index has it: the factor, at least e^(-1/2), and the table are rounded.
    Cost: 1 round; each way the bits of the largest table entry and 2 more, an element. Key: that of a point
        function on k - index_frac bits (see `Dpf`), and to the server 3 (ring_bits + extra_bits) less V's
        bits.
    Reveals: V plus a mask that is uniform in V's ring.
    Source: this project's own.
    """

    def __init__(
        self, *, ring_bits: int, frac_bits: int, index_bits: int, index_frac: int, low: float
    ) -> None:
        if index_frac < 1 or -low >= 2.0 ** (index_bits - index_frac - 1):
            raise ConfigError(f"an index of {index_bits} bits, {index_frac} of them of a cell, from {low}")
        table_frac, self._cells = frac_bits + _TABLE_FRAC, Cells(index_bits, index_frac)
        self._table = _table(self._cells, table_frac, math.floor(low * 2.0**index_frac))
        if self._table.value_bits - 1 - _TABLE_FRAC > ring_bits:
            raise ConfigError(f"exp up to {math.exp(-low):.4g} does not fit {ring_bits} bits")
        self._factor_frac = min(FACTOR_FRAC, 64 - ring_bits - _TABLE_FRAC)
        self.extra_bits = _TABLE_FRAC + self._factor_frac
        self.max_relative_error = 2.0 ** -(self._factor_frac + 1) * math.exp(0.5)
        self.max_rounding_error = 2.0 ** -(table_frac + 1) * math.exp(0.5)
        super().__init__(
            Lookup(
                self._table, table_frac=table_frac, index_bits=index_bits, sign=False, rest_bits=index_frac
            ),
            low=low,
            index_frac=index_frac,
            frac_bits=frac_bits + self.extra_bits,
            ring_bits=ring_bits + self.extra_bits,
        )

    def _factor(self, mask: torch.Tensor) -> torch.Tensor:
        return self._rest(self._cells.split(mask)[1])

    def _exp(self, clear: ClearSide, index: Share) -> torch.Tensor:
        cell, a, b = self._cells.places(index.value, clear.mask(index.shape, index.ring_bits))
        return self._table.at(cell, a) * self._rest(b)

    def _rest(self, b: torch.Tensor) -> torch.Tensor:
        """exp(b - 1/2) with its fraction bits."""
        exact = (b.double() * 2.0**-self._index_frac - 0.5).exp()
        return (exact * 2.0**self._factor_frac).round().to(torch.int64)


@lru_cache(maxsize=64)
def _table(cells: Cells, frac_bits: int, least: int) -> Table:
    """exp(-(j + a - 1/2)), zero where z = j + a - b is below the least whatever b is."""
    unit, first = 1 << cells.rest_bits, least >> cells.rest_bits
    window = np.arange(first, 1 << (cells.bits - 1))
    middles = (window << cells.rest_bits) + np.arange(unit)[:, None] - unit // 2
    values = np.rint(np.exp(-middles / unit) * 2.0**frac_bits)
    values[middles + unit // 2 < least] = 0.0
    last = int(np.flatnonzero(values.any(0))[-1])
    return Table(first, values[:, : last + 1].astype(np.int64))
