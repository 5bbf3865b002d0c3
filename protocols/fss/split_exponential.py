"""exp of minus a masked index by a table of few cells, times what the dealer knows of the rest."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, final

import numpy as np
import torch

from parties.errors import ConfigError, RangeError
from protocols.fss.cells import Cells, RowTable, masked_number
from protocols.fss.clear_side import ClearSide, Rounding
from protocols.fss.dealer_side import DealerSide
from protocols.fss.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.material import Dpf, Items, Mask
from protocols.fss.party_side import PartySide
from protocols.fss.point_keys import PointKeys, read_all
from protocols.fss.polynomial import (
    Form,
    TermList,
    deal_product,
    evaluate_product,
    form_of,
    key_items,
    known_form,
)
from protocols.fss.terms import coefficients, secrets
from protocols.share import Held, Share

FACTOR_FRAC = 12
"""Fraction bits of the dealer's factor."""
_TABLE_FRAC = 1
"""Fraction bits that the table has beyond the result's: the factor is up to exp(1/2)."""


@final
class SplitExponential(Gate):
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

    reason: ClassVar[str] = "exponential"

    def __init__(
        self, *, ring_bits: int, frac_bits: int, index_bits: int, index_frac: int, low: float
    ) -> None:
        if index_frac < 1 or -low >= 2.0 ** (index_bits - index_frac - 1):
            raise ConfigError(f"an index of {index_bits} bits, {index_frac} of them of a cell, from {low}")
        self._ring_bits, self._frac_bits, self._index_frac = ring_bits, frac_bits, index_frac
        self._least = math.floor(low * 2.0**index_frac)
        self._cells = Cells(index_bits, index_frac)
        self._table = _table(self._cells, frac_bits + _TABLE_FRAC, self._least)
        self._value_bits = self._table.value_bits
        if self._value_bits - 1 - _TABLE_FRAC > ring_bits:
            raise ConfigError(f"exp up to {math.exp(-low):.4g} does not fit {ring_bits} bits")
        self._factor_frac = min(FACTOR_FRAC, 64 - ring_bits - _TABLE_FRAC)
        self.extra_bits = _TABLE_FRAC + self._factor_frac
        self.max_relative_error = 2.0 ** -(self._factor_frac + 1) * math.exp(0.5)
        self.max_rounding_error = 2.0 ** -(frac_bits + _TABLE_FRAC + 1) * math.exp(0.5)

    def items(self, *inputs: Share) -> Items:
        items: Items = {}
        for i, index in enumerate(inputs):
            items[f"point{i}"], items[f"mask{i}"] = self._to_open(index)
        for i, index in enumerate(inputs):
            items |= key_items(f"key{i}", self._forms(index), self._bits)
        return items

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return exchange(*((self._value_bits, index.shape) for index in inputs))

    def outputs(self, *inputs: Share) -> Shares:
        frac_bits = self._frac_bits + self.extra_bits
        return tuple(shape_only(index.shape, frac_bits, self._bits) for index in inputs)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        masked: list[tuple[torch.Tensor, int]] = []
        for index in inputs:
            point, mask = self._to_open(index)
            mine = self._read(party, point, masked_number(index, self._cells).reshape(-1))
            masked.append((mine.reshape(index.shape).add_(party.mask(mask)), self._value_bits))
        results: list[Share] = []
        for index, opened in zip(inputs, party.exchange(masked, self.reason), strict=True):
            terms = [[1], coefficients(self._opened(opened))]
            results.append(
                self._result(evaluate_product(party, "key", self._forms(index), terms, self._bits))
            )
        return tuple(results)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        known: list[list[TermList]] = []
        for index in inputs:
            point, mask = self._to_open(index)
            cell, place = self._cells.cut(index.value)
            factors = dealing.point_keys(point, cell) * self._factor(place)
            known.append([[factors], secrets(self._opened(dealing.mask(mask)))])
        for index, values in zip(inputs, known, strict=True):
            deal_product(dealing, "key", self._forms(index), values, self._bits)
        return self.outputs(*inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        return tuple(self._clear_one(clear, index) for index in inputs)

    def _clear_one(self, clear: ClearSide, index: Share) -> Share:
        self._check_range(clear, index)
        floor, shape = clear.rounding is Rounding.FLOOR, tuple(index.value.shape)
        mask = torch.zeros_like(index.value) if floor else clear.mask(shape, index.ring_bits)
        cell, a, b = self._cells.places(index.value, mask)
        return self._result(self._table.at(cell, a) * self._factor(b))

    def _read(self, party: PartySide, point: Dpf, value: torch.Tensor) -> torch.Tensor:
        """This party's summand of V."""

        def read(keys: PointKeys, part: slice) -> list[torch.Tensor]:
            return [self._table.read(party, keys, *self._cells.cut(value[part]))]

        (mine,) = read_all(party.point_keys(point), value.numel(), read)
        return mine

    def _to_open(self, index: Share) -> tuple[Dpf, Mask]:
        """Keys, and the mask of what they give."""
        return Dpf(index.shape, self._cells.bits), Mask(index.shape, self._value_bits)

    def _check_range(self, clear: ClearSide, index: Share) -> None:
        """Below it a private run might give zero."""
        if index.value.numel() and int(index.value.min()) < self._least:
            got, least = (v / 2.0**self._index_frac for v in (int(index.value.min()), self._least))
            raise RangeError(f"{clear.meter.label}: exp(-z) at z = {got:.6g}, at least {least:.6g}")

    def _factor(self, b: torch.Tensor) -> torch.Tensor:
        """exp(b - 1/2) with its fraction bits."""
        return (
            ((b.double() * 2.0**-self._index_frac - 0.5).exp() * 2.0**self._factor_frac)
            .round()
            .to(torch.int64)
        )

    def _opened(self, value: torch.Tensor) -> Share:
        return Share(value, self._frac_bits + _TABLE_FRAC, self._value_bits, Held.MASKED, drop=0)

    def _forms(self, index: Share) -> list[Form]:
        shape = index.shape
        return [known_form(shape), form_of(self._opened(index.value))]

    def _result(self, value: torch.Tensor) -> Share:
        return Share(value, self._frac_bits + self.extra_bits, self._bits)

    @property
    def _bits(self) -> int:
        """Of the result's ring."""
        return self._ring_bits + self.extra_bits


@lru_cache(maxsize=64)
def _table(cells: Cells, frac_bits: int, least: int) -> RowTable:
    """exp(-(j + a - 1/2)), zero where z = j + a - b is below the least whatever b is."""
    unit, first = 1 << cells.rest_bits, least >> cells.rest_bits
    window = np.arange(first, 1 << (cells.bits - 1))
    middles = (window << cells.rest_bits) + np.arange(unit)[:, None] - unit // 2
    values = np.rint(np.exp(-middles / unit) * 2.0**frac_bits)
    values[middles + unit // 2 < least] = 0.0
    last = int(np.flatnonzero(values.any(0))[-1])
    return RowTable(first, values[:, : last + 1].astype(np.int64))
