"""h tanh(i / h), or h erf(i / h), of a masked index."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, final

import torch

from parties.errors import ConfigError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.gates.lookup import Lookup
from protocols.fss.gates.value_gate import ValueGate
from protocols.fss.tables.curves import squash
from protocols.fss.tables.tables import Table, tabulate
from protocols.share import Share


@final
class TanhLookup(ValueGate):
    """h tanh(i / h) of a masked index i, as an additive share, from a table over all indices there are.

    1. One look-up of the index (see `lookup.py`) opens V = s h tanh(i / h) under a mask, s a sign of the
       dealer's.
    2. y = s V, from the opened value and three shared secrets.

    For few numbers, a pooled row, or where truncation is exact: parties read as many entries an element as
    the index has values.

    Args:
        ring_bits: of the result.
        frac_bits: of the table and of the result.
        index_bits: k, 2 to 20: -2^(k - 1) <= i < 2^(k - 1), in units of the last place.
        index_frac: fraction bits of the index.
        height: h.
        kind: `tanh`, or `erf` in its place.
        centred: the index was rounded down and stands for the middle of its cell; otherwise it was rounded at
            random and stands for itself.

    Inputs: an index, or several, a result each: what they open travels together.

    Raises:
        ConfigError: the table does not fit the result's ring.

    Error: the slope is at most 1 (erf: 1.13), so as many times 2^-index_frac, half of it if centred, and
        2^-(frac_bits + 1): `max_abs_error`.
    Cost: 1 round; each way the bits of the largest table entry and 2 more, an element. Key: that of a point
        function on k bits (see `Dpf`), and to the server 3 ring_bits less V's bits.
    Reveals: V plus a mask that is uniform in V's ring.
    """

    reason: ClassVar[str] = "activation"

    def __init__(
        self,
        *,
        ring_bits: int,
        frac_bits: int,
        index_bits: int,
        index_frac: int,
        height: float = 1.0,
        kind: str = "tanh",
        centred: bool = False,
    ) -> None:
        self._table = _squash_table(kind, height, frac_bits, index_bits, index_frac, centred)
        if self._table.value_bits - 1 > ring_bits:
            raise ConfigError(
                f"tanh up to {height:g} with {frac_bits} fraction bits: not in {ring_bits} bits"
            )
        lookup = Lookup(self._table, table_frac=frac_bits, index_bits=index_bits, sign=False)
        super().__init__(lookup, frac_bits=frac_bits, ring_bits=ring_bits)
        slope = squash(kind).slope
        self.max_abs_error = slope * 2.0 ** -(index_frac + centred) + 2.0 ** -(frac_bits + 1)

    def _value(self, clear: ClearSide, index: Share) -> torch.Tensor:
        return self._table.at(index.value)


@lru_cache(maxsize=64)
def _squash_table(
    kind: str, height: float, frac_bits: int, index_bits: int, index_frac: int, centred: bool
) -> Table:
    function = squash(kind).function
    half = 1 << (index_bits - 1)
    return tabulate(
        lambda x: height * function(x / height),
        low=-half,
        high=half,
        index_frac=index_frac,
        table_frac=frac_bits,
        offset=0.5 if centred else 0.0,
    )
