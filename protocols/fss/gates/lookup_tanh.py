"""tanh of a masked index."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, final

import numpy as np

from parties.errors import ConfigError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.lookup import Lookup
from protocols.fss.gates.polynomial import deal_product, evaluate_product, key_correlations
from protocols.fss.preprocessing.correlations import Correlations
from protocols.fss.tables.tables import Table, tabulate
from protocols.share import Share


@final
class TanhLookup(Gate):
    """tanh(i) of a masked index i, as an additive share, from a table over all indices there are.

    1. One look-up of the index (see `lookup.py`) opens V = s tanh(i) under a mask, s a sign of the dealer's.
    2. y = s V, from the opened value and three shared secrets.

    For few numbers, a pooled row: parties read as many entries an element as the index has values.

    Args:
        ring_bits: of the result.
        frac_bits: of the table and of the result.
        index_bits: k, 2 to 20: -2^(k - 1) <= i < 2^(k - 1), in units of the last place.
        index_frac: fraction bits of the index.
        centred: the index was rounded down and stands for the middle of its cell; otherwise it was rounded at
            random and stands for itself.

    Inputs: the index.

    Raises:
        ConfigError: the table does not fit the result's ring.

    Error: |tanh'| <= 1, so 2^-index_frac, half of it if centred, and 2^-(frac_bits + 1): `max_abs_error`.
    Cost: 1 round; each way frac_bits + 3 bits an element. Key: that of a point function on k bits (see
        `Dpf`), and to the server 3 ring_bits less V's bits.
    Reveals: V plus a mask that is uniform in V's ring.
    """

    reason: ClassVar[str] = "activation"

    def __init__(
        self, *, ring_bits: int, frac_bits: int, index_bits: int, index_frac: int, centred: bool = False
    ) -> None:
        self._table = _tanh_table(frac_bits, index_bits, index_frac, centred)
        if self._table.value_bits - 1 > ring_bits:
            raise ConfigError(f"tanh with {frac_bits} fraction bits does not fit {ring_bits} bits")
        self._lookup = Lookup(self._table, table_frac=frac_bits, index_bits=index_bits, sign=False)
        self._result_frac, self._result_bits = frac_bits, ring_bits
        self.max_abs_error = 2.0 ** -(index_frac + centred) + 2.0 ** -(frac_bits + 1)

    def correlations(self, *inputs: Share) -> Correlations:
        (index,) = inputs
        return self._lookup.correlations(index.shape) | key_correlations(
            "key", self._lookup.forms(index.shape), self._result_bits
        )

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        (index,) = inputs
        return exchange(*self._lookup.arrays(index.shape))

    def outputs(self, *inputs: Share) -> Shares:
        (index,) = inputs
        return (shape_only(index.shape, self._result_frac, self._result_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (index,) = inputs
        opened = self._lookup.run(party, index, self.reason)
        forms, terms = self._lookup.forms(index.shape), self._lookup.coefficients(opened)
        value = evaluate_product(party, forms, terms, self._result_bits)
        return (Share(value, self._result_frac, self._result_bits),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (index,) = inputs
        opened, signs = self._lookup.deal(dealing, index)
        known = self._lookup.secrets(opened, signs, index)
        deal_product(dealing, self._lookup.forms(index.shape), known, self._result_bits)
        return self.outputs(index)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (index,) = inputs
        return (Share(self._table.at(index.value), self._result_frac, self._result_bits),)


@lru_cache(maxsize=16)
def _tanh_table(frac_bits: int, index_bits: int, index_frac: int, centred: bool) -> Table:
    half = 1 << (index_bits - 1)
    return tabulate(
        np.tanh,
        low=-half,
        high=half,
        index_frac=index_frac,
        table_frac=frac_bits,
        offset=0.5 if centred else 0.0,
    )
