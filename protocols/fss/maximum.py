"""The largest of few possible values in every row, in one round."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray

from parties.errors import ConfigError
from protocols.fss.clear import Clear
from protocols.fss.dealing import Dealing
from protocols.fss.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.material import Idpf, Item, Items, Mask, Shape
from protocols.fss.one_hot import MIN_DOMAIN_BITS, OneHots
from protocols.fss.party import Party
from protocols.fss.ring import low
from protocols.kernels import idpf
from protocols.kernels.histogram import suffix_counts
from protocols.share import Held, Share
from protocols.tensors import to_tensor, to_words

MAX_RING_BITS = 8
MAX_COUNT_BITS = 16


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows whose counts need equally many bits.

    Attributes:
        bits: counts are below 2^bits, at least 3.
        which: places of these rows among all.
    """

    bits: int
    which: tuple[int, ...]


@final
class CoarseMaximum(Gate):
    """The exact maximum of every row of masked values of b bits, as additive shares.

    1. The dealer shares, for every element, the one-hot vector of -r mod 2^b, entries in Z_2^c. Rotated by
       the public xh it is a share of the one-hot vector of x. A row's sum is a share of its histogram, and
       sums from the top are shares of how many elements are as large as each of the 2^b - 1 values above the
       least.
    2. Those counts are opened, each masked in the ring that the row's length needs.
    3. The dealer shares the one-hot vector of each count's mask, entries in Z_2^b, or where that is smaller
       a key of it. Its entry at the opened count is a share of 1{count = 0}.
    4. The maximum is 2^(b-1) - 1 less the number of counts that are zero.

    Args:
        lengths: of the rows, packed end to end on the last axis; 1 to 65,535 each.

    Cost: 1 round. Online, c' bits each way for each of 2^b - 1 counts a row, c' the bit length of the row (at
        least 3). Key to the server: 2^b c bits an element, c the largest c'; and 2^c' b bits a count. Where
        16 c' bytes and b bits to each party are less, these instead.
    Reveals: counts plus fresh uniform masks of their rings.
    Source: section 6 of the project's protocol notes.
    """

    reason: ClassVar[str] = "maximum"

    def __init__(self, lengths: tuple[int, ...]) -> None:
        if not lengths or min(lengths) < 1 or max(lengths) >> MAX_COUNT_BITS:
            raise ConfigError(f"rows have 1 to {(1 << MAX_COUNT_BITS) - 1} entries")
        self._lengths = lengths
        groups: dict[int, list[int]] = {}
        for row, length in enumerate(lengths):
            groups.setdefault(max(MIN_DOMAIN_BITS, length.bit_length()), []).append(row)
        self._groups = [_Rows(bits, tuple(rows)) for bits, rows in sorted(groups.items())]

    def items(self, *inputs: Share) -> Items:
        (x,) = inputs
        items: Items = {"elements": self._elements(x).item}
        for rows in self._groups:
            items[f"mask{rows.bits}"] = Mask(self._counts(x, rows), rows.bits)
        for rows in self._groups:
            items[f"zero{rows.bits}"] = _zero_item(self._counts(x, rows), rows.bits, x.ring_bits)
        return items

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        (x,) = inputs
        return exchange(*((rows.bits, self._counts(x, rows)) for rows in self._groups))

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only((*x.shape[:-1], len(self._lengths)), x.frac_bits, x.ring_bits),)

    def run(self, party: Party, *inputs: Share) -> Shares:
        (x,) = inputs
        assert x.held is Held.MASKED, f"{x!r} is not masked"
        items = self.items(x)
        counts = (party.first - party.rank) * self._count(x, self._elements(x).entries(party))
        masked = [
            (counts[..., list(rows.which), :] + party.mask(items[f"mask{rows.bits}"]), rows.bits)
            for rows in self._groups
        ]
        opened = party.exchange(masked, self.reason)
        value = torch.empty((*x.shape[:-1], len(self._lengths)), dtype=torch.int64)
        top = (1 << (x.ring_bits - 1)) - 1
        for rows, count in zip(self._groups, opened, strict=True):
            zero = _zero_share(party, low(count, rows.bits), rows.bits, x.ring_bits)
            value[..., list(rows.which)] = party.first * top - zero.sum(-1)
        return (Share(value, x.frac_bits, x.ring_bits),)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        (x,) = inputs
        items = self.items(x)
        self._elements(x).deal(dealing, -x.value)
        masks = [low(dealing.mask(items[f"mask{rows.bits}"]), rows.bits) for rows in self._groups]
        for rows, mask in zip(self._groups, masks, strict=True):
            _deal_zero(dealing, mask, rows.bits, x.ring_bits)
        return self.outputs(x)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        (x,) = inputs
        starts = np.cumsum((0, *self._lengths[:-1]))
        value = np.maximum.reduceat(x.value.numpy(), starts, axis=-1)
        return (Share(torch.from_numpy(value), x.frac_bits, x.ring_bits),)

    def _elements(self, x: Share) -> OneHots:
        if not MIN_DOMAIN_BITS <= x.ring_bits <= MAX_RING_BITS:
            raise ConfigError(
                f"row maxima of values of {x.ring_bits} bits: histograms hold 3 to {MAX_RING_BITS}, "
                "maximum=tree any"
            )
        if x.shape[-1] != sum(self._lengths):
            raise ConfigError(f"{x!r}: not {sum(self._lengths)} entries")
        return OneHots(x.shape, x.ring_bits, self._groups[-1].bits)

    def _counts(self, x: Share, rows: _Rows) -> Shape:
        return (*x.shape[:-1], len(rows.which), (1 << x.ring_bits) - 1)

    def _count(self, x: Share, vectors: NDArray[np.unsignedinteger[Any]]) -> torch.Tensor:
        """The counts of all rows in what are one-hot vectors, [..., rows, 2^b - 1]."""
        leading = x.shape[:-1]
        ends = np.cumsum(np.tile(np.array(self._lengths), math.prod(leading)))
        shifts = low(x.value, x.ring_bits).to(torch.uint8).reshape(-1).numpy()
        counts = suffix_counts(vectors, shifts, np.concatenate([[0], ends]))
        return torch.from_numpy(counts).reshape(*leading, len(self._lengths), counts.shape[-1])


def _zero_item(shape: Shape, bits: int, value_bits: int) -> Item:
    """What one zero test a count takes: a table or a key, whichever is smaller."""
    table, key = OneHots(shape, bits, value_bits).item, Idpf(shape, bits, (bits,), value_bits)
    return table if sum(table.sent_bytes) <= sum(key.sent_bytes) else key


def _deal_zero(dealing: Dealing, mask: torch.Tensor, bits: int, value_bits: int) -> None:
    item = _zero_item(tuple(mask.shape), bits, value_bits)
    if isinstance(item, Idpf):
        dealing.prefix_keys(item, mask)
    else:
        OneHots(tuple(mask.shape), bits, value_bits).deal(dealing, mask)


def _zero_share(party: Party, opened: torch.Tensor, bits: int, value_bits: int) -> torch.Tensor:
    """This party's share of whether what was opened is the mask alone."""
    shape = tuple(opened.shape)
    item = _zero_item(shape, bits, value_bits)
    if not isinstance(item, Idpf):
        return OneHots(shape, bits, value_bits).at(party, opened)
    keys = party.prefix_keys(item)
    points, one = to_words(opened.reshape(-1)), np.ones(1, np.int64)
    root = to_words(keys.root)
    share = idpf.range_lookup(party.rank, keys.common, root, bits, points, 1, one, party.hash)
    return to_tensor(share.view(np.uint64)).reshape(shape)
