"""exp of minus a masked index."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, final

import numpy as np

from parties.errors import ConfigError, RangeError
from protocols.fss.clear_side import ClearSide
from protocols.fss.dealer_side import DealerSide
from protocols.fss.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.lookup import Lookup
from protocols.fss.material import Items
from protocols.fss.party_side import PartySide
from protocols.fss.polynomial import Form, deal_product, evaluate_product, form_of, key_items, known_form
from protocols.fss.tables import Table, tabulate
from protocols.fss.terms import coefficients, secrets
from protocols.share import Share


@final
class Exponential(Gate):
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

    reason: ClassVar[str] = "exponential"

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
        self._ring_bits, self._frac_bits = ring_bits, frac_bits
        self._index_frac = index_frac
        self._table = _exponential_table(frac_bits, index_bits, index_frac, low, centred)
        if self._table.value_bits - 1 > ring_bits:
            raise ConfigError(f"exp up to {np.exp(-low):.4g} does not fit {ring_bits} bits")
        self._least = int(np.floor(low * 2.0**index_frac))
        self._lookup = Lookup(self._table, table_frac=frac_bits, index_bits=index_bits, sign=False)
        step = 2.0 ** -(index_frac + centred)
        self.max_relative_error = float(np.expm1(step))
        self.max_rounding_error = 2.0 ** -(frac_bits + 1)

    def items(self, *inputs: Share) -> Items:
        items: Items = {}
        for i, index in enumerate(inputs):
            items |= {f"{name}{i}": item for name, item in self._lookup.items(index.shape).items()}
        for i, index in enumerate(inputs):
            items |= key_items(f"key{i}", self._forms(index), self._ring_bits)
        return items

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return exchange(*(array for index in inputs for array in self._lookup.arrays(index.shape)))

    def outputs(self, *inputs: Share) -> Shares:
        return tuple(shape_only(index.shape, self._frac_bits, self._ring_bits) for index in inputs)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        results: list[Share] = []
        for index, opened in zip(inputs, self._lookup.run_each(party, inputs, self.reason), strict=True):
            assert opened.value is not None
            terms = [[1], coefficients(opened.value)]
            result = evaluate_product(party, "key", self._forms(index), terms, self._ring_bits)
            results.append(Share(result, self._frac_bits, self._ring_bits))
        return tuple(results)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        answers = [self._lookup.deal(dealing, index) for index in inputs]
        for index, (opened, signs) in zip(inputs, answers, strict=True):
            assert opened.value is not None
            known = [[signs], secrets(opened.value)]
            deal_product(dealing, "key", self._forms(index), known, self._ring_bits)
        return self.outputs(*inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        return tuple(self._clear_one(clear, index) for index in inputs)

    def _clear_one(self, clear: ClearSide, index: Share) -> Share:
        if index.value.numel() and int(index.value.min()) < self._least:
            got, least = (v / 2.0**self._index_frac for v in (int(index.value.min()), self._least))
            raise RangeError(f"{clear.meter.label}: exp(-z) at z = {got:.6g}, at least {least:.6g}")
        return Share(self._table.at(index.value), self._frac_bits, self._ring_bits)

    def _forms(self, index: Share) -> list[Form]:
        value = self._lookup.shapes(index.shape).value
        assert value is not None
        return [known_form(index.shape), form_of(value)]


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
