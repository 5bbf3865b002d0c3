"""One key of a point function on a masked index: a table's value there and the index's sign, opened together.

1. The dealer hands out keys of a point function at r, the mask of the index i on k bits, and keeps the sign
   s = +-1 that comes with them. The parties' one-hot bits differ at r and nowhere else.
2. With a table on a window low <= i < high, each party sums bit[p] T[ih - p] over the points p with low <=
   ih - p < high, cyclically, and the client changes the sign: summands of V = s T[i]. Where i lies outside of
   the window, r is none of those p, all bits agree, and V is exactly 0: no range check is needed.
3. i >= 0 means that r lies in (ih - 2^(k-1), ih], cyclically. Prefix parities of the same key at both ends
   give XOR shares of that bit d: their XOR, and 1 more where the interval comes round to 0.
4. V, in the smallest ring in which it can be read as a view, and d, as a bit, are opened in one exchange,
   each under a fresh uniform mask of its own width.

An index may be cut into cells (`cells.py`): then all this is done with the cell's number, and the table has a
row for every place in a cell, which is public.

Without a table the key has k - 1 bits and d takes one prefix parity, as in `IsNegative`.
Source: docs/protocols.md, section 5; prefix parities are those of Grotto (CCS 2023).
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from parties.errors import ConfigError
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.comparison import share_below_mask
from protocols.fss.gates.polynomial import Form, TermList, form_of, known_form
from protocols.fss.gates.terms import coefficients, secrets
from protocols.fss.preprocessing.correlations import Correlation, Correlations, Dpf, Mask, Shape
from protocols.fss.preprocessing.point_keys import PointKeys, read_all
from protocols.fss.ring import low, top_bit
from protocols.fss.tables.cells import Cells
from protocols.fss.tables.tables import Table
from protocols.meta_tensors import no_data
from protocols.share import Held, Share
from protocols.tensors import to_words

MAX_INDEX_BITS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """What a look-up opens: masked values at a party, their masks at the dealer.

    Attributes:
        values: V = s T[i] of every table, as views, to be read into rings of any width.
        sign: d = 1{i >= 0} as a bit; None where it was not asked for.
    """

    values: tuple[Share, ...]
    sign: Share | None


def share_of_sign(keys: PointKeys, masked: torch.Tensor, bits: int, first: int) -> torch.Tensor:
    """A party's XOR share of d = 1{i >= 0} of a masked i of so many bits, from keys at its mask.

    Args:
        first: 1 at the party that adds public terms.
    """
    points, half = np.empty((2, masked.numel()), np.uint64), np.uint64(1 << (bits - 1))
    np.bitwise_and(to_words(masked).reshape(-1), np.uint64((1 << bits) - 1), out=points[0])
    np.bitwise_xor(points[0], half, out=points[1])
    share, other = keys.prefix_parity(points)
    share ^= other
    if first:
        share ^= points[0] < half  # the interval comes round to 0
    return torch.from_numpy(share).to(torch.int64).reshape(masked.shape)


class PointLookup(ABC):
    """The steps on this file's page, for gates to use; subclasses read the tables.

    Args:
        cells: how indices are cut. The tables and the sign are of cells, and tables may have a row for every
            place in one.
        widths: rings of the tables' values, none where the sign alone is wanted.
        table_frac: their fraction bits.
        sign: whether d is wanted.
    """

    def __init__(self, cells: Cells, *, widths: tuple[int, ...], table_frac: int, sign: bool) -> None:
        self._cells, self._table_frac, self._sign = cells, table_frac, sign
        self._widths = (*widths, 1) if sign else widths
        self._tables = len(widths)
        self._key_bits = cells.bits if widths else cells.bits - 1

    def correlations(self, shape: Shape) -> Correlations:
        """What it takes from the dealer: keys, and a mask for everything that is opened."""
        masks = {f"mask{i}": Mask(shape, bits) for i, bits in enumerate(self._widths)}
        return {"point": Dpf(shape, self._key_bits), **masks}

    def arrays(self, shape: Shape) -> list[tuple[int, Shape]]:
        """Widths and shapes of what is exchanged."""
        return [(bits, shape) for bits in self._widths]

    def shapes(self, shape: Shape) -> Opened:
        """What it opens, without data."""
        return self._opened([no_data(shape) for _ in self._widths])

    def forms(self, shape: Shape) -> list[Form]:
        """The forms whose product is what was looked up, s V; none where there is no table."""
        values = self.shapes(shape).values
        return [known_form(shape), *map(form_of, values)] if values else []

    def coefficients(self, opened: Opened) -> list[TermList]:
        """A party's coefficients of `forms`."""
        return [[1], *map(coefficients, opened.values)]

    def secrets(self, opened: Opened, signs: torch.Tensor, index: Share) -> list[TermList]:
        """The dealer's secrets of `forms`.

        Args:
            opened, signs: what `deal` returned; signs may have a factor of the dealer's, which the product
                then has as well.
            index: the index's mask.
        """
        return [[signs], *map(secrets, opened.values)]

    def run(self, party: PartySide, index: Share, reason: str) -> Opened:
        """A party's step: one exchange."""
        (opened,) = self.run_each(party, [index], reason)
        return opened

    def run_each(self, party: PartySide, indices: Sequence[Share], reason: str) -> list[Opened]:
        """The same of several indices, in one exchange."""
        masked: list[tuple[torch.Tensor, int]] = []
        for index in indices:
            assert index.held is Held.MASKED, f"{index!r} is not masked"
            assert index.ring_bits == self._cells.ring_bits, f"{index!r}: not {self._cells.ring_bits} bits"
            point, *masks = self.correlations(index.shape).values()
            summands = (self._summands if self._tables else self._sign_alone)(party, point, index)
            for summand, mask, bits in zip(summands, masks, self._widths, strict=True):
                masked.append((summand.add_(party.mask(mask)), bits))
        opened, step = party.exchange(masked, reason), len(self._widths)
        return [self._opened(opened[start : start + step]) for start in range(0, len(masked), step)]

    def deal(self, dealing: DealerSide, index: Share) -> tuple[Opened, torch.Tensor]:
        """The dealer's step: the masks of what is opened, and the signs s."""
        point, *masks = self.correlations(index.shape).values()
        cell, _ = self._cells.split(index.value)
        signs = dealing.point_keys(point, low(cell, self._key_bits))
        fresh = [dealing.mask(mask) for mask in masks]
        if not self._tables:
            fresh = [fresh[0] ^ top_bit(index.value, self._cells.ring_bits)]
        return self._opened(fresh), signs

    @abstractmethod
    def _read(
        self, party: PartySide, keys: PointKeys, cell: torch.Tensor, place: torch.Tensor
    ) -> list[torch.Tensor]:
        """This party's summands of the values, from masked cells and public places, flat."""

    def _summands(self, party: PartySide, point: Correlation, index: Share) -> list[torch.Tensor]:
        """This party's summands of V and, where it is wanted, its XOR share of d."""
        value = index.value.reshape(-1)

        def read(keys: PointKeys, part: slice) -> list[torch.Tensor]:
            cell, place = self._cells.split(value[part])
            summands = self._read(party, keys, cell, place)
            if self._sign:
                summands.append(share_of_sign(keys, cell, self._cells.bits, party.first))
            return summands

        summands = read_all(party.point_keys(point), value.numel(), read)
        return [summand.reshape(index.shape) for summand in summands]

    def _sign_alone(self, party: PartySide, point: Correlation, index: Share) -> list[torch.Tensor]:
        """This party's XOR share of d less the top bit of r, which the dealer puts into the mask."""
        borrow = share_below_mask(party, point, low(index.value, self._key_bits))
        public = 1 ^ top_bit(index.value, self._cells.ring_bits)
        return [borrow ^ public if party.first else borrow]

    def _opened(self, values: list[torch.Tensor]) -> Opened:
        views = tuple(
            Share(value, self._table_frac, bits, Held.MASKED, drop=0)
            for value, bits in zip(values[: self._tables], self._widths, strict=False)
        )
        return Opened(views, Share(values[-1], 0, 1, Held.MASKED) if self._sign else None)


@final
class Lookup(PointLookup):
    """One table.

    Args:
        table: its window lies in the cells' ring, or where the sign is not wanted ends with 2^(k-1), which
            comes round to the least index and takes its place; may be empty where the sign is wanted. It has
            a row for every place in a cell, or one for all.
        table_frac: fraction bits of the table.
        index_bits: of the index.
        sign: whether d is wanted.
        rest_bits: of the index's places in cells, so that cells have k = index_bits - rest_bits bits.

    Raises:
        ConfigError: k is not from 2 to 20, the index does not hold the window, or nothing is wanted.
    """

    def __init__(
        self, table: Table, *, table_frac: int, index_bits: int, sign: bool, rest_bits: int = 0
    ) -> None:
        bits = index_bits - rest_bits
        if not 2 <= bits <= MAX_INDEX_BITS:
            raise ConfigError(f"a look-up's index has 2 to {MAX_INDEX_BITS} bits, got {bits}")
        half, has_table = 1 << (bits - 1), table.values.size > 0
        last = half if sign else half + 1
        if has_table and not (-half <= table.low < table.high <= last and table.high - table.low <= 2 * half):
            raise ConfigError(f"indices {table.low} to {table.high - 1} do not fit {bits} bits")
        if not (has_table or sign):
            raise ConfigError("a table of zeros needs no look-up")
        widths = (table.value_bits,) if has_table else ()
        super().__init__(Cells(index_bits, rest_bits), widths=widths, table_frac=table_frac, sign=sign)
        self._table = table

    def _read(
        self, party: PartySide, keys: PointKeys, cell: torch.Tensor, place: torch.Tensor
    ) -> list[torch.Tensor]:
        return [self._table.read(party, keys, cell, place if self._cells.rest_bits else None)]
