"""The largest of few possible values in every row, in one round."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, final

import numpy as np
import torch

from parties.errors import ConfigError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.one_hot import OneHots
from protocols.fss.preprocessing.correlations import Correlation, Correlations, Idpf, Mask, Shape
from protocols.fss.ring import low
from protocols.kernels.entries import MIN_DOMAIN_BITS
from protocols.kernels.histogram import suffix_counts
from protocols.share import Held, Share
from protocols.tensors import to_words

MAX_RING_BITS = 8
MAX_COUNT_BITS = 16
_TESTED = 1 << 16
"""Counts whose zero tests' keys are at hand at once; a multiple of eight, so that they end on whole bytes."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Neighbouring rows whose counts need equally many bits.

    Attributes:
        bits: counts are below 2^bits, at least 3.
        lengths: of the rows.
        first: place of the first row among all.
        start: of its first element.
    """

    bits: int
    lengths: tuple[int, ...]
    first: int
    start: int

    @property
    def places(self) -> slice:
        """The slice of these rows among all rows."""
        return slice(self.first, self.first + len(self.lengths))

    @property
    def elements(self) -> slice:
        """Theirs, among all."""
        return slice(self.start, self.start + sum(self.lengths))


@final
class CoarseMaximum(Gate):
    """The exact maximum of every row of masked values of b bits, as additive shares.

    1. The dealer shares, for every element, the one-hot vector of -r mod 2^b, entries in Z_2^c'. Rotated by
       the public xh it is a share of the one-hot vector of x. A row's sum is a share of its histogram, and
       sums from the top are shares of how many elements are as large as each of the 2^b - 1 values above the
       least. The ring is the one that the row's length needs.
    2. Those counts are opened, each masked in that ring.
    3. The dealer shares the one-hot vector of each count's mask, entries in Z_2^b, or where that is smaller
       a key of it. Its entry at the opened count is a share of 1{count = 0}.
    4. The maximum is 2^(b-1) - 1 less the number of counts that are zero.

    Args:
        lengths: of the rows, packed end to end on the last axis; 1 to 65,535 each.

    Cost: 1 round. Online, c' bits each way for each of 2^b - 1 counts a row, c' the bit length of the row (at
        least 3). Key to the server: 2^b c' bits an element, and 2^c' b bits a count. Where 16 c' bytes and b
        bits to each party are less, these instead.
    Reveals: counts plus fresh uniform masks of their rings.
    Source: docs/protocols.md, section 6.
    """

    reason: ClassVar[str] = "maximum"

    def __init__(self, lengths: tuple[int, ...]) -> None:
        if not lengths or min(lengths) < 1 or max(lengths) >> MAX_COUNT_BITS:
            raise ConfigError(f"rows have 1 to {(1 << MAX_COUNT_BITS) - 1} entries")
        self._lengths = lengths
        self._groups = _groups(lengths)

    def correlations(self, *inputs: Share) -> Correlations:
        (x,) = inputs
        correlations: Correlations = {}
        for i, rows in enumerate(self._groups):
            correlations[f"elements{i}"] = self._vectors(x, rows).item
            correlations[f"mask{i}"] = Mask(self._counts(x, rows), rows.bits)
        for i, rows in enumerate(self._groups):
            for j, part in enumerate(_parts(self._counts(x, rows))):
                correlations[f"zero{i}.{j}"] = _zero_correlation(
                    part.stop - part.start, rows.bits, x.ring_bits
                )
        return correlations

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        (x,) = inputs
        return exchange(*((rows.bits, self._counts(x, rows)) for rows in self._groups))

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only((*x.shape[:-1], len(self._lengths)), x.frac_bits, x.ring_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (x,) = inputs
        assert x.held is Held.MASKED, f"{x!r} is not masked"
        masked = [(self._count(party, x, rows), rows.bits) for rows in self._groups]
        opened = party.exchange(masked, self.reason)
        value = torch.empty((*x.shape[:-1], len(self._lengths)), dtype=torch.int64)
        top = (1 << (x.ring_bits - 1)) - 1
        for rows, count in zip(self._groups, opened, strict=True):
            flat = low(count, rows.bits).reshape(-1)
            zeros = [_zero_share(party, flat[part], rows.bits, x.ring_bits) for part in _parts(count.shape)]
            total = torch.cat(zeros).reshape(count.shape).sum(-1)
            value[..., rows.places] = party.first * top - total
        return (Share(value, x.frac_bits, x.ring_bits),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (x,) = inputs
        masks: list[torch.Tensor] = []
        for rows in self._groups:
            vectors = self._vectors(x, rows)
            vectors.deal(dealing, -x.value[..., rows.elements])
            masks.append(low(dealing.mask(Mask(self._counts(x, rows), rows.bits)), rows.bits))
        for rows, mask in zip(self._groups, masks, strict=True):
            for part in _parts(mask.shape):
                _deal_zero(dealing, mask.reshape(-1)[part], rows.bits, x.ring_bits)
        return self.outputs(x)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (x,) = inputs
        starts = np.cumsum((0, *self._lengths[:-1]))
        value = np.maximum.reduceat(x.value.numpy(), starts, axis=-1)
        return (Share(torch.from_numpy(value), x.frac_bits, x.ring_bits),)

    def _vectors(self, x: Share, rows: _Rows) -> OneHots:
        """Of the elements of some rows."""
        if not MIN_DOMAIN_BITS <= x.ring_bits <= MAX_RING_BITS:
            raise ConfigError(
                f"row maxima of values of {x.ring_bits} bits: histograms hold 3 to {MAX_RING_BITS}, "
                "maximum=tree any"
            )
        if x.shape[-1] != sum(self._lengths):
            raise ConfigError(f"{x!r}: not {sum(self._lengths)} entries")
        return OneHots((*x.shape[:-1], sum(rows.lengths)), x.ring_bits, rows.bits)

    def _counts(self, x: Share, rows: _Rows) -> Shape:
        return (*x.shape[:-1], len(rows.lengths), (1 << x.ring_bits) - 1)

    def _count(self, party: PartySide, x: Share, rows: _Rows) -> torch.Tensor:
        """This party's summand of the counts of some rows, masked."""
        vectors, shape = self._vectors(x, rows), self._counts(x, rows)
        starts = np.cumsum(np.tile(np.array(rows.lengths), math.prod(x.shape[:-1])))
        starts = np.concatenate([[0], starts])
        shifts = low(x.value[..., rows.elements], x.ring_bits).to(torch.uint8).reshape(-1).numpy()
        counts = np.empty((len(starts) - 1, shape[-1]), np.int64)
        for first, last, packed in vectors.rows(party, starts):
            at = starts[first : last + 1]
            own = shifts[at[0] : at[-1]]
            counts[first:last] = suffix_counts(packed, vectors.layout, own, at - at[0])
        counts *= party.first - party.rank
        return torch.from_numpy(counts).reshape(shape).add_(party.mask(Mask(shape, rows.bits)))


def _groups(lengths: tuple[int, ...]) -> list[_Rows]:
    """Neighbours by the bits that their counts need."""
    groups: list[_Rows] = []
    first = start = 0
    for bits, same in groupby(lengths, lambda length: max(MIN_DOMAIN_BITS, length.bit_length())):
        rows = _Rows(bits, tuple(same), first, start)
        groups.append(rows)
        first, start = rows.places.stop, rows.elements.stop
    return groups


def _parts(shape: Shape) -> list[slice]:
    """Counts that are tested together, of all of them end to end: for so many the keys are at hand."""
    count = math.prod(shape)
    return [slice(start, min(start + _TESTED, count)) for start in range(0, count, _TESTED)]


def _zero_correlation(count: int, bits: int, value_bits: int) -> Correlation:
    """What a zero test of every count takes: tables or keys, whichever are smaller."""
    shape = (count,)
    table, key = OneHots(shape, bits, value_bits).item, Idpf(shape, bits, (bits,), value_bits)
    return table if sum(table.sent_bytes) <= sum(key.sent_bytes) else key


def _deal_zero(dealing: DealerSide, mask: torch.Tensor, bits: int, value_bits: int) -> None:
    item = _zero_correlation(len(mask), bits, value_bits)
    if isinstance(item, Idpf):
        dealing.prefix_keys(item, mask)
    else:
        OneHots(tuple(mask.shape), bits, value_bits).deal(dealing, mask)


def _zero_share(party: PartySide, opened: torch.Tensor, bits: int, value_bits: int) -> torch.Tensor:
    """This party's share of whether what was opened is the mask alone."""
    item = _zero_correlation(len(opened), bits, value_bits)
    if not isinstance(item, Idpf):
        return OneHots(tuple(opened.shape), bits, value_bits).at(party, opened)
    return torch.from_numpy(party.prefix_keys(item).at(to_words(opened)))
