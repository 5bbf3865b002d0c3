"""exp of minus a masked index."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import lru_cache
from typing import ClassVar, final

import numpy as np
import torch

from parties.errors import ConfigError, RangeError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.gates.lookup import Lookup
from protocols.fss.gates.value_gate import ValueGate
from protocols.fss.tables.tables import Table, tabulate
from protocols.share import Share


class ExponentialGate(ValueGate):
    """exp(-z) of masked indices.

    Args:
        lookup: of one value and no sign.
        low: the least z that may occur.
        index_frac: fraction bits of an index.
        frac_bits, ring_bits: of the result.
    """

    reason: ClassVar[str] = "exponential"

    def __init__(
        self, lookup: Lookup, *, low: float, index_frac: int, frac_bits: int, ring_bits: int
    ) -> None:
        super().__init__(lookup, frac_bits=frac_bits, ring_bits=ring_bits)
        self._index_frac, self._least = index_frac, math.floor(low * 2.0**index_frac)

    def _value(self, clear: ClearSide, index: Share) -> torch.Tensor:
        self._check_range(clear, index)
        return self._exp(clear, index)

    @abstractmethod
    def _exp(self, clear: ClearSide, index: Share) -> torch.Tensor:
        """The exponential of an index in its range."""

    def _check_range(self, clear: ClearSide, index: Share) -> None:
        """Below it a private run might give zero."""
        if index.value.numel() and int(index.value.min()) < self._least:
            got, least = (v / 2.0**self._index_frac for v in (int(index.value.min()), self._least))
            raise RangeError(f"{clear.meter.label}: exp(-z) at z = {got:.6g}, at least {least:.6g}")


@final
class Exponential(ExponentialGate):
    """exp(-z) of a masked index z >= low, as an additive share; z is a row's maximum minus a score, say.

    1. One look-up of the index (see `lookup.py`) opens V = s exp(-z) under a mask, s a sign of the dealer's.
       The table ends where exp(-z) rounds to 0; every larger z has exactly 0.
    2. y = s V, from the opened value and three shared secrets.

    Args:
        ring_bits: of the result.
        frac_bits: of the table and of the result.
        index_bits: k, 2 to 20: z < 2^(k - 1 - index_frac), or just that where a smaller one was rounded up.
        index_frac: fraction bits of the index.
        low: the least z that occurs, negative or not. What is less gives 0; the reference raises RangeError.
        centred: the index was rounded up, as the maximum minus scores rounded down is, and stands for the
            middle of its cell, half a unit less. Otherwise it was rounded at random and stands for itself.

    Inputs: an index, or several, a result each: what they open travels together.

    Raises:
        ConfigError: the table does not fit the index or the result's ring.

    Error: |y - exp(-z)| <= exp(-z) (exp(u) - 1) + 2^-(frac_bits + 1) for z before it was rounded, where u is
        2^-index_frac, or half of that if centred. `max_relative_error` and `max_rounding_error` tell.
    Cost: 1 round; each way the bits of the largest table entry and 2 more, an element. Key: that of a point
        function on k bits (see `Dpf`), and to the server 3 ring_bits less V's bits.
    Reveals: V plus a mask that is uniform in V's ring.
    """

    def __init__(
        self,
        *,
        ring_bits: int,
        frac_bits: int,
        index_bits: int,
        index_frac: int,
        low: float,
        centred: bool = False,
    ) -> None:
        self._table = _exponential_table(frac_bits, index_bits, index_frac, low, centred)
        if self._table.value_bits - 1 > ring_bits:
            raise ConfigError(f"exp up to {np.exp(-low):.4g} does not fit {ring_bits} bits")
        lookup = Lookup(self._table, table_frac=frac_bits, index_bits=index_bits, sign=False)
        super().__init__(lookup, low=low, index_frac=index_frac, frac_bits=frac_bits, ring_bits=ring_bits)
        step = 2.0 ** -(index_frac + centred)
        self.max_relative_error = float(np.expm1(step))
        self.max_rounding_error = 2.0 ** -(frac_bits + 1)

    def _exp(self, clear: ClearSide, index: Share) -> torch.Tensor:
        return self._table.at(index.value)


@lru_cache(maxsize=64)
def _exponential_table(frac_bits: int, index_bits: int, index_frac: int, low: float, centred: bool) -> Table:
    """exp(-z) from the least index on."""
    half = 1 << (index_bits - 1)
    first = max(int(np.floor(low * 2.0**index_frac)), -half)
    return tabulate(
        lambda z: np.exp(-z),
        low=first,
        high=min(half + 1, first + 2 * half),
        index_frac=index_frac,
        table_frac=frac_bits,
        offset=-0.5 if centred else 0.0,
    )
