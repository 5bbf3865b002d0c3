"""Products of queries with keys, and of weights with values, where a query sees the keys up to its own only,
or the last of these in a window, or all.

What can be seen is packed: rows of growing length end to end, cut into blocks of whole rows. Nothing else is
dealt for or opened. Products are made for some hundred rows at once, with the keys up to the last of them, so
that of T rows a share of about GROUP_ROWS / T is computed in vain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, final

import torch

from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Shares, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.pattern_blocks import PatternBlocks
from protocols.fss.preprocessing.correlations import Correlations, Shape, Shared
from protocols.kernels.ring_products import ring_bmm
from protocols.kernels.rows import pack_rows, unpack_rows
from protocols.share import Share

GROUP_ROWS = 128
"""Rows whose products are made at once: enough for matrix products to run at full speed."""
BLOCK_ELEMENTS = 1 << 17
"""Packed elements of a block, over all heads: arrays of so many stay in cache."""
BLOCK_ROWS = 16
"""Blocks have a multiple of that many rows, and so of eight elements: packed, they end on whole bytes."""


@dataclass(frozen=True)
class CausalBlocks:
    """Which keys each of the last T of S positions sees, in blocks of rows.

    Attributes:
        queries, keys: T, S.
        cuts: rows at which blocks begin, 0 first and T last.
        window: a query sees at most this many keys, its own the last; 0 for all up to its own.
        causal: a query sees the keys up to its own; otherwise all S.
    """

    queries: int
    keys: int
    cuts: tuple[int, ...]
    window: int = 0
    causal: bool = True

    @classmethod
    def of(cls, queries: int, keys: int, heads: int, window: int = 0, *, causal: bool = True) -> CausalBlocks:
        """Blocks of about `BLOCK_ELEMENTS` elements."""
        cuts, most = [0], window or keys
        for row in range(BLOCK_ROWS, queries, BLOCK_ROWS):
            first, last = keys - queries + cuts[-1] + 1, keys - queries + row + BLOCK_ROWS
            first, last = (first, last) if causal else (keys, keys)
            rows = row + BLOCK_ROWS - cuts[-1]
            if heads * (min(first, most) + min(last, most)) * rows // 2 > BLOCK_ELEMENTS:
                cuts.append(row)
        return cls(queries, keys, (*cuts, queries), window, causal)

    @classmethod
    def whole(cls, queries: int, keys: int, window: int = 0, *, causal: bool = True) -> CausalBlocks:
        """A single block."""
        return cls(queries, keys, (0, queries), window, causal)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """How many keys each query sees."""
        if not self.causal:
            return (self.keys,) * self.queries
        most = self.window or self.keys
        return tuple(min(last, most) for last in range(self.keys - self.queries + 1, self.keys + 1))

    @cached_property
    def blocks(self) -> tuple[slice, ...]:
        """Rows of every block."""
        return tuple(slice(first, last) for first, last in pairwise(self.cuts))

    def shapes(self, leading: Shape) -> list[Shape]:
        """Of what is packed of every block."""
        return [(*leading, sum(self.lengths[block])) for block in self.blocks]

    def groups(self) -> Iterator[tuple[slice, Sequence[int]]]:
        """Rows whose products are made at once, and the numbers of their blocks."""
        first, members = 0, list[int]()
        for number, block in enumerate(self.blocks):
            members.append(number)
            if block.stop - first >= GROUP_ROWS or block.stop == self.queries:
                yield slice(first, block.stop), members
                first, members = block.stop, []

    def seen(self, rows: slice) -> slice:
        """The keys that any of some rows sees."""
        if not self.causal:
            return slice(0, self.keys)
        first: int = rows.start
        last: int = self.keys - self.queries + rows.stop
        return slice(self.keys - self.queries + first + 1 - self.lengths[first], last)

    def pack(self, matrix: torch.Tensor, rows: slice, block: slice) -> torch.Tensor:
        """What can be seen of a block, end to end, from a matrix of rows by the keys that these see."""
        if not self.window:
            return pack_rows(matrix, self.lengths[block], block.start - rows.start)
        inside = slice(block.start - rows.start, block.stop - rows.start)
        return matrix[..., inside, :][..., self._visible(block, self.seen(rows))]

    def unpack(self, packed: torch.Tensor, rows: slice, block: slice) -> torch.Tensor:
        """The inverse, with zeros where nothing can be seen: [.., the block's rows, keys of all rows]."""
        keys = self.seen(rows)
        if not self.window:
            return unpack_rows(packed, self.lengths[block], keys.stop)
        visible = self._visible(block, keys)
        matrix = packed.new_zeros((*packed.shape[:-1], *visible.shape))
        matrix[..., visible] = packed
        return matrix

    def hidden(self, rows: slice) -> torch.Tensor:
        """Which of the keys that any of some rows sees each row does not see."""
        return ~self._visible(rows, self.seen(rows))

    def products(self, q: torch.Tensor, k: torch.Tensor, ring_bits: int) -> Iterator[torch.Tensor]:
        """q k^T of [.., T, K] and [.., S, K], packed, block by block."""
        for group, members in self.groups():
            keys = k[..., self.seen(group), :].transpose(-1, -2)
            matrix = ring_bmm(q[..., group, :], keys, ring_bits)
            for number in members:
                yield self.pack(matrix, group, self.blocks[number])

    def sizes(self, q: torch.Tensor, k: torch.Tensor) -> Iterator[torch.Tensor]:
        """What `products` has, in floating point, in parts and zeros among it."""
        for group, _ in self.groups():
            matrix = q[..., group, :].double() @ k[..., self.seen(group), :].double().transpose(-1, -2)
            yield matrix.masked_fill(self.hidden(group), 0.0)

    def unpacked(self, packed: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, slice]]:
        """Of what is packed of every block, the rows group by group, with zeros: [.., rows, keys]; and the
        keys that a group sees."""
        for group, members in self.groups():
            rows = [self.unpack(packed[number], group, self.blocks[number]) for number in members]
            yield torch.cat(rows, -2) if len(rows) > 1 else rows[0], self.seen(group)

    def _visible(self, rows: slice, keys: slice) -> torch.Tensor:
        """Which of these keys each of some rows sees."""
        if not self.causal:
            return torch.ones(rows.stop - rows.start, keys.stop - keys.start, dtype=torch.bool)
        own = torch.arange(rows.start, rows.stop)[:, None] + (self.keys - self.queries)
        at = torch.arange(keys.start, keys.stop)
        up_to = at <= own
        return up_to & (at > own - self.window) if self.window else up_to


SeenKeys = CausalBlocks | PatternBlocks
"""Which keys queries see; patterns have the queries, and the keys, of all heads in one axis."""


@final
class CausalProduct(Gate):
    """Masked queries [.., T, K] times masked keys [.., S, K], what can be seen of it, a result a block.

    With qh = q + A and kh = k + B: q k^T = qh k^T - A kh^T + A B^T. A party multiplies [qh A] with its
    summand of k and -kh.

    Inputs: queries, keys, and additive shares of the keys in the same ring.
    Cost: no round, nothing online: both factors are opened already. Key: ring_bits an element of A and of
        what can be seen of A B^T, to the server.
    Reveals: nothing.
    Source: Beaver (CRYPTO '91) with one correlation a matrix product.
    """

    reason: ClassVar[str] = "causal product"

    def __init__(self, blocks: SeenKeys) -> None:
        self._blocks = blocks

    def correlations(self, *inputs: Share) -> Correlations:
        q, k, own = inputs
        ring = q.ring_bits
        assert ring == k.ring_bits == own.ring_bits
        assert (q.shape[-2], k.shape[-2]) == (self._blocks.queries, self._blocks.keys)
        correlations: Correlations = {"queries": Shared(q.shape, ring)}
        for number, shape in enumerate(self._blocks.shapes(q.shape[:-2])):
            correlations[f"both{number}"] = Shared(shape, ring)
        return correlations

    def outputs(self, *inputs: Share) -> Shares:
        q, k, _ = inputs
        shapes = self._blocks.shapes(q.shape[:-2])
        return tuple(shape_only(shape, q.frac_bits + k.frac_bits, q.ring_bits) for shape in shapes)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        q, k, own = inputs
        queries, *both = self.correlations(*inputs).values()
        left = torch.cat([q.value, party.shared(queries)], -1)
        right = torch.cat([own.value, -k.value], -1)
        products = self._blocks.products(left, right, q.ring_bits)
        values = (product.add_(party.shared(item)) for product, item in zip(products, both, strict=True))
        return self._results(values, q, k)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        q, k, _ = inputs
        queries, *both = self.correlations(*inputs).values()
        dealing.share(queries, q.value)
        for item, product in zip(both, self._blocks.products(q.value, k.value, q.ring_bits), strict=True):
            dealing.share(item, product)
        return self.outputs(*inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        q, k, _ = inputs
        if not _fits_words(q, k, k.shape[-1]):
            for sizes in self._blocks.sizes(q.value, k.value):
                clear.check_magnitude(sizes, q.ring_bits, q.frac_bits + k.frac_bits)
        return self._results(self._blocks.products(q.value, k.value, 64), q, k)

    def _results(self, values: Iterator[torch.Tensor], q: Share, k: Share) -> Shares:
        return tuple(Share(value, q.frac_bits + k.frac_bits, q.ring_bits) for value in values)


@final
class CausalMix(Gate):
    """Masked weights, packed, a share a block, times masked values [.., S, K]: additive [.., T, K].

    With wh = w + A and vh = v + B: w v = wh v - A vh + A B. A party multiplies wh with its summand of v.

    Inputs: the weights of every block, in order; the values, and additive shares of them in the same ring.
    Cost: no round, nothing online. Key: ring_bits an element of A and A B, to the server.
    Reveals: nothing.
    Source: as for `CausalProduct`.
    """

    reason: ClassVar[str] = "causal mix"

    def __init__(self, blocks: SeenKeys) -> None:
        self._blocks = blocks

    def correlations(self, *inputs: Share) -> Correlations:
        *weights, v, own = inputs
        ring = v.ring_bits
        assert all(x.ring_bits == ring for x in (*weights, own))
        assert v.shape[-2] == self._blocks.keys
        correlations: Correlations = {}
        for number, w in enumerate(weights):
            correlations[f"weights{number}"] = Shared(w.shape, ring)
        return {**correlations, "both": Shared(self._shape(v), ring)}

    def outputs(self, *inputs: Share) -> Shares:
        w, v = inputs[0], inputs[-2]
        return (shape_only(self._shape(v), w.frac_bits + v.frac_bits, v.ring_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        *weights, v, own = inputs
        *masks, both = self.correlations(*inputs).values()
        negated = -v.value
        parts: list[torch.Tensor] = []
        both_rows = zip(
            self._blocks.unpacked([w.value for w in weights]),
            self._blocks.unpacked([party.shared(mask) for mask in masks]),
            strict=True,
        )
        for (opened, seen), (hidden, _) in both_rows:
            part = ring_bmm(opened, own.value[..., seen, :], v.ring_bits)
            parts.append(part.add_(ring_bmm(hidden, negated[..., seen, :], v.ring_bits)))
        return self._result(torch.cat(parts, -2).add_(party.shared(both)), *inputs)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        *weights, v, _ = inputs
        *masks, both = self.correlations(*inputs).values()
        for item, w in zip(masks, weights, strict=True):
            dealing.share(item, w.value)
        dealing.share(both, self._mixed(*inputs, ring_bits=v.ring_bits))
        return self.outputs(*inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        *weights, v, _ = inputs
        if not all(_fits_words(w, v, v.shape[-2]) for w in weights):
            for rows, seen in self._blocks.unpacked([w.value for w in weights]):
                sizes = rows.double() @ v.value[..., seen, :].double()
                clear.check_magnitude(sizes, v.ring_bits, weights[0].frac_bits + v.frac_bits)
        return self._result(self._mixed(*inputs, ring_bits=64), *inputs)

    def _mixed(self, *inputs: Share, ring_bits: int) -> torch.Tensor:
        *weights, v, _ = inputs
        rows = self._blocks.unpacked([w.value for w in weights])
        return torch.cat([ring_bmm(part, v.value[..., seen, :], ring_bits) for part, seen in rows], -2)

    def _shape(self, v: Share) -> Shape:
        return (*v.shape[:-2], self._blocks.queries, v.shape[-1])

    def _result(self, value: torch.Tensor, *inputs: Share) -> Shares:
        w, v = inputs[0], inputs[-2]
        return (Share(value, w.frac_bits + v.frac_bits, v.ring_bits),)


def _fits_words(x: Share, y: Share, terms: int) -> bool:
    """Whether no sum of so many products can leave int64; then the ring can be checked afterwards."""
    largest = [float(part.value.abs().max()) if part.value.numel() else 0.0 for part in (x, y)]
    return terms * largest[0] * largest[1] < 2.0**62
