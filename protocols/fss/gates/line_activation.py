"""GELU and SiLU of a masked value on a line in every cell, alone or times another: one look-up, one round."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, final

import torch

from parties.errors import ConfigError, RangeError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.gates.activation_gate import ActivationGate
from protocols.fss.gates.line_lookup import LineLookup
from protocols.fss.tables.cells import Cells
from protocols.fss.tables.curves import curve
from protocols.fss.tables.line_table import LineTable, line_table
from protocols.share import Share

RESULT_FRAC = 16
"""Fraction bits of the result, factors aside: slopes times the rest of a number are rounded to them."""


class _LineGate(ActivationGate):
    """y = e x - c, e = 1{j >= 0} and c the line of the index's cell j.

    Subclasses say which factors; see `LineActivation` for everything else.
    """

    def __init__(
        self,
        kind: str,
        *,
        ring_bits: int,
        frac_bits: int,
        index_bits: int,
        index_frac: int,
        cell_frac: int,
        value_bits: int,
        slope_bits: int,
    ) -> None:
        if not cell_frac < index_frac <= frac_bits:
            raise ConfigError(
                f"{frac_bits} fraction bits, {index_frac} of an index, {cell_frac} of its cells"
            )
        if index_bits - index_frac + cell_frac < 2:
            raise ConfigError(f"an index of {index_bits} bits has less than four cells")
        if min(value_bits, slope_bits) < 3:
            raise ConfigError(f"lines of {value_bits} and {slope_bits} bits: they have 3 at least")
        self._kind, self._index_frac, self._cell_frac = kind, index_frac, cell_frac
        self.extra_bits = min(max(0, RESULT_FRAC - frac_bits), 64 - ring_bits)
        self._cells = Cells(index_bits, index_frac - cell_frac)
        fraction = frac_bits + self.extra_bits
        self._table = _table(kind, self._cells, index_frac, fraction, value_bits, slope_bits)
        lookup = LineLookup(self._table)
        super().__init__(
            lookup,
            x_frac=frac_bits,
            frac_bits=fraction,
            ring_bits=ring_bits + self.extra_bits,
            ramp_shift=self.extra_bits,
        )

    @property
    def max_abs_error(self) -> float:
        """Bound on |y - f(x)| for an x as it is read; see `LineActivation`."""
        bend, cell = curve(self._kind).bend, 2.0**-self._cell_frac
        place = 2.0**-self._result_frac
        step = self._table.slope_unit * place * 2.0**self._index_frac
        steepest = (1 << (self._table.slope_bits - 2)) - 1
        line = bend * cell**2 / 16.0 + step * cell / 4.0 + self._table.value_unit * place / 2.0
        unit = 0.0 if self._index_frac == self._x_frac else 2.0**-self._index_frac
        return line + steepest * place / 2.0 + unit / 2.0 + bend * unit**2 / 2.0

    def _alone(self, clear: ClearSide, x: Share, index: Share) -> torch.Tensor:
        self._check_range(clear, index)
        cell, a, b = self._cells.places(index.value, clear.mask(index.shape, index.ring_bits))
        ramp = torch.where(cell >= 0, x.value, 0) << self._ramp_shift
        return ramp - self._table.at(cell, a, b)

    def _check_range(self, clear: ClearSide, index: Share) -> None:
        """The cell may be the next one, and must not come round."""
        most = (1 << (self._cells.ring_bits - 1)) - (1 << self._cells.rest_bits)
        if index.value.numel() and (largest := int(index.value.max())) > most:
            got, limit = (number / 2.0**self._index_frac for number in (largest, most))
            raise RangeError(f"{clear.meter.label}: {got:.6g} does not fit, at most {limit:.6g}")


@final
class LineActivation(_LineGate):
    """f(x) of a masked x and its index, which is x or x with fewer fraction bits; an additive share.

    1. One look-up of the index (`line_lookup.py`) opens, masked, e = 1{j >= 0} of its cell j, and value and
       slope of the line of c = e x - f(x) there, each times a sign of the dealer's.
    2. y = e x - c, from opened values and shared secrets, with `extra_bits` more fraction bits than x in a
       ring as much wider: `RESULT_FRAC` in all, or as many as a ring of 64 bits leaves room for.

    Which cell is taken depends on the mask, and so does the result in its last bits.

    Args:
        kind: f: gelu (exact), gelu_tanh (its tanh approximation) or silu.
        ring_bits: of the result, `extra_bits` aside.
        frac_bits: of x.
        index_bits: of the index: -2^(k - 1) <= x < 2^(k - 1) - 2^-cell_frac with k = index_bits - index_frac.
        index_frac: fraction bits of the index, at most `frac_bits`, more than `cell_frac`.
        cell_frac: cells are 2^-cell_frac wide.
        value_bits, slope_bits: of lines, as they are opened; 3 or more.

    Inputs: the index, a masked value of `index_bits`; x, a view.

    Raises:
        ConfigError: there is no such activation, or the bits do not fit together.

    Error: with h a cell's width, b = max |f''| (0.8 for GELU, 0.51 for SiLU), and p and q the steps of the
        lines' values and slopes, at most b h^2 / 16 + q h / 4 + p / 2, and a rounding of the rest. Over an
        interval of length h the chord is off by 0 to b h^2 / 8, to one side: f'' does not change its sign
        there, or is below h max |f'''|, which is less than b. A slope is within q / 2 of the chord's, which
        adds as much times h / 2 to either side. Values lie in the middle, within p / 2 of it. Largest values
        and slopes (0.17 and 0.55 for GELU, 0.28 and 0.55 for SiLU) give p and q. An index with fewer fraction
        bits than x adds u / 2 + b u^2 / 2, u its unit (see `Activation`).
    Cost: 1 round; each way value_bits + slope_bits + 1 bits an element. Key: that of a point function on the
        cell's bits (see `Dpf`), and to the server, n being the view's bits, 5 ring_bits - 2 n, and as many as
        5 (ring_bits + extra_bits) - value_bits - slope_bits.
    Reveals: e, value and slope plus uniform masks of their widths.
    Source: the difference to ReLU in a table, as in SIGMA (PETS 2024), here in lines; sign by prefix parity,
        as in Grotto (CCS 2023). All of it from one key, relative to the mask, is this project's own.
    """

    reason: ClassVar[str] = "activation"

    def _wires(self, *inputs: Share) -> tuple[Share, Share, tuple[Share, ...]]:
        index, x = inputs
        return x, index, ()


@final
class GatedLineActivation(_LineGate):
    """f(x) u of a masked gate's index, the gate x, and a masked u: a gated unit, as an additive share.

    As `LineActivation` with another factor in every product: nothing more is opened, and the scale of the
    result is the sum of both.

    Inputs: the index and x as for `LineActivation`; u, a view.

    Error: that of `LineActivation` times |u|.
    Cost: as `LineActivation`, but the server's shares are 17 ring_bits and 15 (ring_bits + extra_bits), less
        the bits of views that wraps save.
    Reveals: e, value and slope plus uniform masks of their widths.
    """

    reason: ClassVar[str] = "gated"

    def _wires(self, *inputs: Share) -> tuple[Share, Share, tuple[Share, ...]]:
        index, x, factor = inputs
        return x, index, (factor,)


@lru_cache(maxsize=64)
def _table(
    kind: str, cells: Cells, index_frac: int, frac_bits: int, value_bits: int, slope_bits: int
) -> LineTable:
    return line_table(
        curve(kind).correction,
        cells=cells,
        index_frac=index_frac,
        frac_bits=frac_bits,
        value_bits=value_bits,
        slope_bits=slope_bits,
    )
