"""The carry out of the sum of two words that two parties hold, as a tree of masked gates.

A block of adjacent bits generates a carry (G) or passes one on (P). A leaf takes two bits of either party's
word; a node takes G and P of four to six blocks. The lowest block's P has no use and is never computed.
Everything here is public: which bits are opened, which products of masks are dealt, and how many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from protocols.arithmetic.bits import Slices
from protocols.arithmetic.masked_gate import Gate, Polynomial, Products, both, numbered, variable, xor

LEAF_BITS = 2
FAN_INS = range(4, 7)
MAX_WORD_BITS = 63
"""Longest words."""
MAX_BLOCKS = 32
"""Leaves of the longest words."""


def _carry(generate: Sequence[Polynomial], propagate: Sequence[Polynomial]) -> tuple[Polynomial, Polynomial]:
    """G and P of adjacent blocks together, lowest first."""
    carry, through = generate[0], propagate[0]
    for g, p in zip(generate[1:], propagate[1:], strict=True):
        carry, through = xor(g, both(p, carry)), both(p, through)
    return carry, through


@lru_cache(maxsize=16)
def leaf_gate(bits: int, *, propagate: bool) -> Gate:
    """G, and P where it is needed, of a block: inputs x_0, x_1, ... (the server's), y_0, y_1, ..."""
    x, y = ([variable(offset + i) for i in range(bits)] for offset in (0, bits))
    outputs = _carry([*map(both, x, y)], [*map(xor, x, y)])
    return Gate(2 * bits, outputs if propagate else outputs[:1], server_inputs=bits)


@lru_cache(maxsize=16)
def node_gate(fan_in: int, *, propagate: bool) -> Gate:
    """G, and P where it is needed, of blocks 0, 1, ... f - 1 together.

    Inputs: p_1 ... p_(f-1), g_0 ... g_(f-2), and p_0 where P is needed. The output G lacks g_(f-1): it is
    XORed with that, which needs no opening.
    """
    last = fan_in - 1
    p = [variable(2 * last), *(variable(i) for i in range(last))]
    g = [*(variable(last + i) for i in range(last)), frozenset[int]()]
    outputs = _carry(g, p)
    return Gate(2 * last + propagate, outputs if propagate else outputs[:1])


@dataclass(frozen=True)
class Level:
    """Gates that are evaluated in the same round: a lowest one, and equal ones above it.

    Attributes:
        low_width, low: how many blocks (leaves: bits) the lowest gate takes; a single block needs no gate.
        width, full, count: the same of each of the others, and how many they are.
    """

    low_width: int
    low: Gate | None
    width: int
    full: Gate
    count: int

    @property
    def blocks(self) -> int:
        """How many blocks are left."""
        return 1 + self.count

    @cached_property
    def groups(self) -> tuple[tuple[Gate, slice], ...]:
        """Every kind of gate, in the order of all messages, and the blocks that it makes."""
        low = ((self.low, slice(0, 1)),) if self.low else ()
        return (*low, (self.full, slice(1, self.blocks))) if self.count else low

    @cached_property
    def opened(self) -> int:
        """Bits that one party sends for one element."""
        return sum(gate.opened * (made.stop - made.start) for gate, made in self.groups)

    @cached_property
    def products(self) -> int:
        """Bits that the dealer sends for one element."""
        return sum(len(gate.products) * (made.stop - made.start) for gate, made in self.groups)

    def entering(self, slices: Slices) -> list[Slices]:
        """Blocks (leaves: bits), lowest first, by kind of gate: [width, gates, bytes]."""
        low, rest = slices[: self.low_width, None], slices[self.low_width :]
        full = rest.reshape(self.count, self.width, slices.shape[1]).transpose(1, 0, 2)
        return [*([low] if self.low else []), *([full] if self.count else [])]

    def by_gate(self, slices: Slices, *, products: bool = False) -> list[Slices]:
        """Counts by kind of gate, of what is opened or dealt: [opened or products, gates, bytes]."""
        parts: list[Slices] = []
        start, width = 0, slices.shape[1]
        for gate, made in self.groups:
            rows, count = len(gate.products) if products else gate.opened, made.stop - made.start
            parts.append(slices[start : start + rows * count].reshape(rows, count, width))
            start += rows * count
        return parts

    def deal(self, masks: Sequence[Slices]) -> Slices:
        """Products of masks that the dealer shares: [products, bytes].

        Args:
            masks: of all inputs; for leaves the server's, then the client's.
        """
        out = np.empty((self.products, masks[0].shape[1]), np.uint8)
        owners = zip(*(self.by_gate(slices) for slices in masks), strict=True)
        for (gate, _), rows, owned in zip(self.groups, self.by_gate(out, products=True), owners, strict=True):
            values = Products(numbered(row for part in owned for row in part))
            for subset, row in zip(gate.products, rows, strict=True):
                row[:] = values[subset]
        return out

    def evaluate(
        self,
        opened: Sequence[Mapping[int, Slices]],
        masks: Sequence[Mapping[int, Slices]],
        products: Slices,
        *,
        public: bool,
    ) -> tuple[Slices, Slices]:
        """This party's XOR shares of G and P of the blocks that are left, [blocks, bytes] each.

        Args:
            opened: every input XOR its mask, by kind of gate.
            masks: this party's shares of the masks, and of products it knows alone, by kind of gate.
            products: this party's shares of what `deal` made.
            public: whether this party adds the terms without a mask.
        """
        generate, propagate = (np.zeros((self.blocks, products.shape[1]), np.uint8) for _ in range(2))
        dealt = self.by_gate(products, products=True)
        for (gate, made), inputs, own, rows in zip(self.groups, opened, masks, dealt, strict=True):
            known = {**own, **dict(zip(gate.products, rows, strict=True))}
            out = [generate[made], propagate[made]][: len(gate.outputs)]
            gate.evaluate(Products(inputs), known, out, public=public)
        return generate, propagate


@lru_cache(maxsize=64)
def leaf_level(bits: int) -> Level:
    """The first level, over words of 1 to 63 bits."""
    low = 1 if bits % LEAF_BITS else LEAF_BITS
    gate = leaf_gate(low, propagate=False)
    return Level(low, gate, LEAF_BITS, leaf_gate(LEAF_BITS, propagate=True), (bits - low) // LEAF_BITS)


@lru_cache(maxsize=64)
def node_level(blocks: int) -> Level:
    """A further level, over 2 to 32 blocks. The fan-in is 4, or 5 or 6 where that saves a level."""
    fan_in = min(FAN_INS, key=lambda width: (_depth(blocks, width), width))
    low = blocks % fan_in or fan_in
    gate = node_gate(low, propagate=False) if low > 1 else None
    return Level(low, gate, fan_in, node_gate(fan_in, propagate=True), (blocks - low) // fan_in)


def _depth(blocks: int, fan_in: int) -> int:
    depth = 0
    while blocks > 1:
        blocks, depth = -(-blocks // fan_in), depth + 1
    return depth


@lru_cache(maxsize=64)
def levels(bits: int) -> tuple[Level, ...]:
    """The tree over words of 1 to 63 bits: leaves, then at most two levels of nodes."""
    tree = [leaf_level(bits)]
    while tree[-1].blocks > 1:
        tree.append(node_level(tree[-1].blocks))
    return tuple(tree)
