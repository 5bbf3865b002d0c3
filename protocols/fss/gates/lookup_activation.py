"""GELU, SiLU and ReLU of a masked value, alone or times another: one look-up, one exchange."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, final

import numpy as np
import torch

from parties.errors import ConfigError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.gates.activation_gate import ActivationGate
from protocols.fss.gates.lookup import Lookup
from protocols.fss.tables.curves import curve
from protocols.fss.tables.tables import Table, tabulate
from protocols.share import Share


class _LookupGate(ActivationGate):
    """y = d x - c(i), c(i) from a table of one number an index.

    Subclasses say which factors; see `Activation` for everything else.
    """

    def __init__(
        self,
        kind: str,
        *,
        ring_bits: int,
        frac_bits: int,
        index_bits: int,
        index_frac: int,
        table_frac: int,
        centred: bool = False,
    ) -> None:
        if not index_frac <= frac_bits:
            raise ConfigError(f"an index of {index_frac} fraction bits of a value of {frac_bits}")
        if not frac_bits - ring_bits < table_frac <= frac_bits:
            raise ConfigError(f"a table of {table_frac} fraction bits for a value of {frac_bits}")
        self._kind, self._index_frac = kind, index_frac
        self._table_frac, self._centred = table_frac, centred
        self._table = _correction_table(kind, index_bits, index_frac, table_frac, centred)
        lookup = Lookup(self._table, table_frac=table_frac, index_bits=index_bits, sign=True)
        super().__init__(
            lookup,
            x_frac=frac_bits,
            frac_bits=frac_bits,
            ring_bits=ring_bits,
            lack_shift=frac_bits - table_frac,
        )

    @property
    def max_abs_error(self) -> float:
        """Bound on |y - f(x)| for an x as it is read, if its index is in its ring; see `Activation`."""
        unit = 2.0**-self._index_frac
        if self._kind == "relu":
            return 0.0 if self._centred else unit
        rounding = 2.0 ** -(self._table_frac + 1)
        if self._centred:
            return unit / 4.0 + rounding
        return unit / 2.0 + curve(self._kind).bend * unit**2 / 2.0 + rounding

    def _alone(self, clear: ClearSide, x: Share, index: Share) -> torch.Tensor:
        ramp, lack = torch.where(index.value >= 0, x.value, 0), self._table.at(index.value)
        return ramp - (lack << self._lack_shift)


@final
class Activation(_LookupGate):
    """f(x) of a masked x and its index i, which is x with few fraction bits; an additive share at x's scale.

    1. One look-up of the index (see `lookup.py`) opens, masked, d = 1{i >= 0} and V = s c(i), where c =
       ReLU - f is tabulated where it does not round to 0, and s is a sign of the dealer's. The table has
       `table_frac` fraction bits.
    2. y = d x - s V 2^(frac_bits - table_frac), from opened values and shared secrets. ReLU has no V.

    Args:
        kind: f: gelu (exact), gelu_tanh (its tanh approximation), silu or relu.
        ring_bits: of the result.
        frac_bits: of x and of the result.
        index_bits: k, 2 to 20: |x| < 2^(k - 1 - index_frac).
        index_frac: fraction bits of the index, at most `frac_bits`.
        table_frac: fraction bits of the table, at most `frac_bits`.
        centred: the index is x rounded down, exactly, and stands for the middle of its cell. Otherwise it is
            rounded at random, up or down, and stands for itself.

    Inputs: x, a value in a ring of at least `ring_bits` or a view; the index, a masked value of `index_bits`.

    Raises:
        ConfigError: there is no such activation, or the bits do not fit together.

    Error: at most u / 2 + b u^2 / 2 + 2^-(table_frac + 1) with u = 2^-index_frac and b = max |f''|, which is
        0.8 for GELU and 0.51 for SiLU; u / 4 + 2^-(table_frac + 1) if centred. By the mean value theorem:
        |f' - d| <= 1/2 wherever x and i are of one sign. ReLU: u, because x just below 0 may have i = 0; if
        centred it is exact.
    Cost: 1 round; each way 1 bit and those of the largest c and 2 more an element: 10 bits for GELU with 9
        fraction bits. Key: that of a point function on k bits (see `Dpf`), and to the server 3 ring_bits (5
        for a view) and 3 (ring_bits - frac_bits + table_frac), less the bits of views that wraps save. ReLU:
        a key on k - 1 bits and no V.
    Reveals: d and V plus uniform masks of their widths.
    Source: docs/protocols.md, section 6; the window look-up that is zero outside, and the sign
        from the same key, are this project's own.
    """

    reason: ClassVar[str] = "activation"

    def _wires(self, *inputs: Share) -> tuple[Share, Share, tuple[Share, ...]]:
        x, index = inputs
        return x, index, ()


@final
class GatedActivation(_LookupGate):
    """f(x) u of a masked gate x, its index, and a masked u: a gated unit, as an additive share.

    As `Activation` with another factor in every product: nothing more is opened, and the scale of the result
    is the sum of both.

    Inputs: x and its index as for `Activation`; u, a value in a ring of at least `ring_bits` or a view.

    Error: that of `Activation` times |u|.
    Cost: as `Activation`, but the server's shares are 7 ring_bits for values, 17 for views; and 6 or 9
        (ring_bits - frac_bits + table_frac), less the bits of views that wraps save.
    Reveals: d and V plus uniform masks of their widths.
    """

    reason: ClassVar[str] = "gated"

    def _wires(self, *inputs: Share) -> tuple[Share, Share, tuple[Share, ...]]:
        x, index, factor = inputs
        return x, index, (factor,)


@lru_cache(maxsize=64)
def _correction_table(kind: str, index_bits: int, index_frac: int, table_frac: int, centred: bool) -> Table:
    """c over all indices; empty for ReLU."""
    if kind == "relu":
        return Table(0, np.zeros(0, np.int64))
    half = 1 << (index_bits - 1)
    correction = curve(kind).correction
    return tabulate(
        lambda x: correction(np.abs(x)),
        low=-half,
        high=half,
        index_frac=index_frac,
        table_frac=table_frac,
        offset=0.5 if centred else 0.0,
    )
