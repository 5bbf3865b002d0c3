"""h tanh(i / h), or h erf(i / h), of a masked number on a line in every cell: one look-up."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, final

import torch

from parties.errors import ConfigError, RangeError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.gates.line_lookup import LineLookup
from protocols.fss.gates.lookup import MAX_INDEX_BITS
from protocols.fss.gates.value_gate import ValueGate
from protocols.fss.tables.cells import Cells
from protocols.fss.tables.curves import squash
from protocols.fss.tables.line_table import LineTable, lines_everywhere
from protocols.share import Share

RESULT_FRAC = 22
"""Fraction bits of the result: slopes times the rest of a number are rounded to them."""
_CELLS = 64
"""Cells are at most h over that wide."""
_BITS = 12
"""Lines are within about 2^-(that - 1): fraction bits of their values, slack of two included, and of slopes
over a cell."""


@final
class TanhOnLines(ValueGate):
    """h tanh(i / h) of a masked number i on a line in its cell, as an additive share.

    1. One look-up of the number (`line_lookup.py`) opens, masked, value and slope of its cell's line of
       h tanh(i / h), each times a sign of the dealer's.
    2. y, the line at i, from opened values and shared secrets, with `RESULT_FRAC` fraction bits.

    Which cell is taken depends on the mask, and so does the result in its last bits. Where truncation is
    exact `TanhLookup` takes its place.

    Args:
        ring_bits: of the result.
        index_bits: of the number: -2^(k - 1) <= i < 2^(k - 1) - a cell, k = index_bits - index_frac. The
            reference raises RangeError above that.
        index_frac: fraction bits of the number, 2 to 20.
        height: h.
        kind: `tanh`, or `erf` in its place.

    Inputs: an index, or several, a result each: what they open travels together.

    Raises:
        ConfigError: the bits do not fit together, or the result not its ring.

    Error: as for `LineActivation`, of the number as it is read: with w a cell's width, p and q the steps of
        the lines' values and slopes, b = 0.77 / h the largest curvature (erf: 0.97 / h),
        b w^2 / 16 + q w / 4 + p / 2 and a rounding of the rest: below 2^-9 for h of 1 and more, and 10
        fraction bits of the number and more. `max_abs_error` tells.
    Cost: 1 round; each way the bits of a line's value and slope: for h = 50 and 10 fraction bits, 18 and 11.
        Key: that of a point function on the cell's bits (see `Dpf`), and to the server 5 ring_bits less
        those bits.
    Reveals: value and slope plus uniform masks of their widths.
    Source: a line in every cell as in `LineActivation`.
    """

    reason: ClassVar[str] = "activation"

    def __init__(
        self, *, ring_bits: int, index_bits: int, index_frac: int, height: float, kind: str = "tanh"
    ) -> None:
        if not 2 <= index_frac <= MAX_INDEX_BITS:
            raise ConfigError(
                f"tanh on lines of a number of {index_frac} fraction bits, 2 to {MAX_INDEX_BITS}"
            )
        finest = math.ceil(math.log2(_CELLS / height)) if height < _CELLS else 0
        self._index_frac, self._cell_frac = index_frac, min(finest, index_frac - 1)
        self._cells = Cells(index_bits, index_frac - self._cell_frac)
        if not 2 <= self._cells.bits <= MAX_INDEX_BITS:
            raise ConfigError(f"tanh on lines in {self._cells.bits} bits of cells, 2 to {MAX_INDEX_BITS}")
        largest = min(height, 2.0 ** (index_bits - index_frac - 1))
        whole = max(math.ceil(math.log2(largest)), 2 - _BITS)
        if whole + RESULT_FRAC + 1 > ring_bits:
            raise ConfigError(f"tanh up to {largest:g} on lines does not fit {ring_bits} bits")
        bits = whole + _BITS + 1, max(_BITS - self._cell_frac, 3)
        self._table = _table(kind, height, self._cells, index_frac, *bits)
        lookup = LineLookup(self._table, sign=False)
        super().__init__(lookup, frac_bits=RESULT_FRAC, ring_bits=ring_bits)
        self.max_abs_error = self._error(squash(kind).bend / height)

    def _error(self, bend: float) -> float:
        """As the class says."""
        place, cell = 2.0**-RESULT_FRAC, 2.0**-self._cell_frac
        step = self._table.slope_unit * place * 2.0**self._index_frac
        steepest = (1 << (self._table.slope_bits - 2)) - 1
        line = bend * cell**2 / 16.0 + step * cell / 4.0 + self._table.value_unit * place / 2.0
        return line + steepest * place / 2.0

    def _value(self, clear: ClearSide, index: Share) -> torch.Tensor:
        most = (1 << (self._cells.ring_bits - 1)) - (1 << self._cells.rest_bits)
        if index.value.numel() and (largest := int(index.value.max())) > most:
            got, limit = (number / 2.0**self._index_frac for number in (largest, most))
            raise RangeError(f"{clear.meter.label}: {got:.6g} does not fit, at most {limit:.6g}")
        cell, a, b = self._cells.places(index.value, clear.mask(index.shape, index.ring_bits))
        return self._table.at(cell, a, b)


@lru_cache(maxsize=64)
def _table(
    kind: str, height: float, cells: Cells, index_frac: int, value_bits: int, slope_bits: int
) -> LineTable:
    function = squash(kind).function
    return lines_everywhere(
        lambda x: height * function(x / height),
        cells=cells,
        index_frac=index_frac,
        frac_bits=RESULT_FRAC,
        value_bits=value_bits,
        slope_bits=slope_bits,
    )
