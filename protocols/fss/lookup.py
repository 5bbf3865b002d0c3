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

Without a table the key has k - 1 bits and d takes one prefix parity, as in `IsNegative`.
Source: docs/protocols.md, section 5; prefix parities are those of Grotto (CCS 2023).
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from parties.errors import ConfigError
from protocols.fss.comparison import share_below_mask
from protocols.fss.dealer_side import DealerSide
from protocols.fss.material import Dpf, Item, Items, Mask, Shape
from protocols.fss.party_side import PartySide
from protocols.fss.point_keys import PointKeys, read_all
from protocols.fss.ring import low, top_bit
from protocols.fss.shapes import no_data
from protocols.fss.tables import Table
from protocols.share import Held, Share
from protocols.tensors import to_words

MAX_INDEX_BITS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """What a look-up opens: masked values at a party, their masks at the dealer.

    Attributes:
        value: V = s T[i] as a view, to be read into rings of any width; None where there is no table.
        sign: d = 1{i >= 0} as a bit; None where it was not asked for.
    """

    value: Share | None
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


@final
class Lookup:
    """The steps on this file's page, for gates to use.

    Args:
        table: its window lies in the index's ring, or where the sign is not wanted ends with 2^(k-1), which
            comes round to the least index and takes its place; may be empty where the sign is wanted.
        table_frac: fraction bits of the table.
        index_bits: k, 2 to 20.
        sign: whether d is wanted.

    Raises:
        ConfigError: the index does not hold the window, or nothing is wanted.
    """

    def __init__(self, table: Table, *, table_frac: int, index_bits: int, sign: bool) -> None:
        if not 2 <= index_bits <= MAX_INDEX_BITS:
            raise ConfigError(f"an index has 2 to {MAX_INDEX_BITS} bits, got {index_bits}")
        half = 1 << (index_bits - 1)
        self._has_table = table.values.size > 0
        last = half if sign else half + 1
        if self._has_table and not (
            -half <= table.low < table.high <= last and table.values.size <= 2 * half
        ):
            raise ConfigError(f"indices {table.low} to {table.high - 1} do not fit {index_bits} bits")
        if not (self._has_table or sign):
            raise ConfigError("a table of zeros needs no look-up")
        self._table, self._table_frac = table, table_frac
        self._bits, self._sign = index_bits, sign
        self._key_bits = index_bits if self._has_table else index_bits - 1

    def items(self, shape: Shape) -> Items:
        """What it takes from the dealer: keys, and a mask for everything that is opened."""
        items: Items = {"point": Dpf(shape, self._key_bits)}
        if self._has_table:
            items["value mask"] = Mask(shape, self._table.value_bits)
        if self._sign:
            items["sign mask"] = Mask(shape, 1)
        return items

    def arrays(self, shape: Shape) -> list[tuple[int, Shape]]:
        """Widths and shapes of what is exchanged."""
        return [(item.bits, shape) for item in self.items(shape).values() if isinstance(item, Mask)]

    def shapes(self, shape: Shape) -> Opened:
        """What it opens, without data."""
        return self._opened([no_data(shape) for _ in self.arrays(shape)])

    def run(self, party: PartySide, index: Share, reason: str) -> Opened:
        """A party's step: one exchange."""
        (opened,) = self.run_each(party, [index], reason)
        return opened

    def run_each(self, party: PartySide, indices: Sequence[Share], reason: str) -> list[Opened]:
        """The same of several indices, in one exchange."""
        masked: list[tuple[torch.Tensor, int]] = []
        for index in indices:
            assert index.held is Held.MASKED, f"{index!r} is not masked"
            assert index.ring_bits == self._bits, f"{index!r} instead of {self._bits} bits"
            point, *masks = self.items(index.shape).values()
            summands = (self._summands if self._has_table else self._sign_alone)(party, point, index)
            widths = (bits for bits, _ in self.arrays(index.shape))
            for summand, mask, bits in zip(summands, masks, widths, strict=True):
                masked.append((summand.add_(party.mask(mask)), bits))
        opened, step = party.exchange(masked, reason), len(masked) // max(1, len(indices))
        return [self._opened(opened[start : start + step]) for start in range(0, len(masked), step)]

    def deal(self, dealing: DealerSide, index: Share) -> tuple[Opened, torch.Tensor]:
        """The dealer's step: the masks of what is opened, and the signs s."""
        point, *masks = self.items(index.shape).values()
        signs = dealing.point_keys(point, low(index.value, self._key_bits))
        fresh = [dealing.mask(mask) for mask in masks]
        if not self._has_table:
            fresh = [fresh[0] ^ top_bit(index.value, self._bits)]
        return self._opened(fresh), signs

    def _summands(self, party: PartySide, point: Item, index: Share) -> list[torch.Tensor]:
        """This party's summands of V and, where it is wanted, its XOR share of d."""
        value = index.value.reshape(-1)

        def read(keys: PointKeys, part: slice) -> list[torch.Tensor]:
            first = to_words(value[part] - (self._table.high - 1))
            sums = torch.from_numpy(keys.window_lookup(first, self._table.backwards))
            summands = [sums if party.first else sums.neg_()]
            if self._sign:
                summands.append(share_of_sign(keys, value[part], self._bits, party.first))
            return summands

        summands = read_all(party.point_keys(point), value.numel(), read)
        return [summand.reshape(index.shape) for summand in summands]

    def _sign_alone(self, party: PartySide, point: Item, index: Share) -> list[torch.Tensor]:
        """This party's XOR share of d less the top bit of r, which the dealer puts into the mask."""
        borrow = share_below_mask(party, point, low(index.value, self._key_bits))
        public = 1 ^ top_bit(index.value, self._bits)
        return [borrow ^ public if party.first else borrow]

    def _opened(self, values: list[torch.Tensor]) -> Opened:
        sign = Share(values[-1], 0, 1, Held.MASKED) if self._sign else None
        if not self._has_table:
            return Opened(None, sign)
        view = Share(values[0], self._table_frac, self._table.value_bits, Held.MASKED, drop=0)
        return Opened(view, sign)
