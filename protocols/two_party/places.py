"""Random indices with the one-hot rows of their digits, and random transfers that are used later."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from parties.meter import SERVER
from parties.wire import RingArray, spec_of
from protocols.labels import labelled
from protocols.tensors import to_tensor
from protocols.two_party.ot.masks import Masks
from protocols.two_party.reasons import VALUES
from protocols.two_party.recipe import Costs, Maker, Recipe
from protocols.two_party.rows import WORD, parity

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8]
_TOGETHER = 1 << 18
"""Rows that one message is about."""


class Place(Recipe):
    """An index of `bits` bits, additively shared, and the one-hot rows of its lower digit and of the rest.

    1. A row of one bit b is (1 xor b, b): local.
    2. A row e and a further bit b make the row (e xor b e, b e). With both XOR-shared, b e is the XOR of each
       party's own product and of two private products, each a COT of a string: the receiver's bit is its
       random choice, so that nothing is sent but the row under a mask. Its last entry is b xor the others.
    3. A bit b_0 xor b_1 is b_0 + b_1 - 2 b_0 b_1: a COT each, in as many bits as are left above it, all at
       once.

    Args:
        digit_bits: of the lower digit.

    Cost: 2^d - d - 1 bits each way for a digit of d bits; m (m - 1) / 2 bits to the client and m - 1 to the
    server, m the index's bits.
    Source: look-ups by one-hot rows as in FLUTE (Brüggemann et al., S&P 2023), the rows made by doubling.
    """

    def __init__(self, digit_bits: int) -> None:
        self._digit_bits = digit_bits

    def make(self, maker: Maker, count: int, bits: int) -> tuple[torch.Tensor, ...]:
        parts = [
            self._some(maker, min(_TOGETHER, count - start), bits) for start in range(0, count, _TOGETHER)
        ]
        return tuple(to_tensor(np.concatenate(part)) for part in zip(*parts, strict=True))

    def _some(self, maker: Maker, count: int, bits: int) -> tuple[Words, Words, Words]:
        digits = one_hot(maker, count, self._digits(bits))
        own = np.stack([bit for digit in digits for bit in digit.bits])
        products = maker.ot.bit_products_by_width(own[:-1], _left(bits), sender=SERVER)
        places = np.arange(bits, dtype=np.uint64)[:, None]
        index = (own.astype(np.uint64) << places).sum(0, dtype=np.uint64)
        index -= (products << places[1:]).sum(0, dtype=np.uint64)
        return index & np.uint64((1 << bits) - 1), digits[0].row, digits[1].row

    def count(self, costs: Costs, count: int, bits: int) -> None:
        for start in range(0, count, _TOGETHER):
            rows = min(_TOGETHER, count - start)
            count_one_hot(costs, rows, self._digits(bits))
            costs.ot.bit_products_by_width(rows, _left(bits), sender=SERVER)

    def _digits(self, bits: int) -> tuple[int, int]:
        return self._digit_bits, bits - self._digit_bits


def _left(bits: int) -> list[int]:
    """Bits of an index above each but the last."""
    return list(range(bits - 1, 0, -1))


def place_cots(digit_bits: int, bits: int) -> tuple[int, int]:
    """COTs that an index takes, by the rank of their sender."""
    rows = digit_bits - 1 + max(0, bits - digit_bits - 1)
    return rows + bits - 1, rows


class OneHot:
    """This party's XOR shares of random numbers below 2^size, and of their one-hot rows.

    Attributes:
        size: bits of the numbers.
        bits: those drawn so far, uint8 [count] each, lowest first.
        row: uint64 [count, words], entry v in bit v % 64 of word v // 64.
    """

    def __init__(self, maker: Maker, count: int, size: int) -> None:
        first = maker.bits(count)
        self.size, self.bits = size, [first]
        self.row = np.zeros((count, max(1, (1 << size) // WORD)), np.uint64)
        chosen = first.astype(np.uint64)
        self.row[:, 0] = chosen << np.uint64(1) | (chosen ^ np.uint64(maker.rank == SERVER))

    def half(self, level: int) -> Words:
        """The row of the first `level` bits."""
        return self.row[:, : max(1, (1 << level) // WORD)]

    def double(self, level: int, bit: Bits, product: Words) -> None:
        """Takes another bit, whose product with the row of those before is given."""
        self.bits.append(bit)
        size = 1 << level
        if size < WORD:
            self.row[:, 0] ^= product[:, 0] ^ (product[:, 0] << np.uint64(size))
        else:
            words = size // WORD
            self.row[:, :words] ^= product
            self.row[:, words : 2 * words] = product


def one_hot(maker: Maker, count: int, sizes: Sequence[int]) -> list[OneHot]:
    """Random numbers of so many bits each, and their one-hot rows, shared: a round a bit."""
    digits = [OneHot(maker, count, size) for size in sizes]
    for level in range(1, max(sizes)):
        longer = [digit for digit in digits if level < digit.size]
        products = _times_bits(maker, [digit.half(level) for digit in longer], 1 << level)
        for digit, (bit, product) in zip(longer, products, strict=True):
            digit.double(level, bit, product)
    return digits


def count_one_hot(costs: Costs, rows: int, sizes: Sequence[int]) -> None:
    """Charges what `one_hot` sends."""
    for level in range(1, max(sizes)):
        longer = sum(level < size for size in sizes)
        for sender in (0, 1):
            for _ in range(longer):
                costs.ot.random_ots(sender, rows, max(1, (1 << level) // WORD))
        costs.ot.exchange(*((rows, width) for _ in range(longer) for width in _widths(1 << level)))


def _widths(size: int) -> list[int]:
    """Bits of the words in which all entries of a row but the last are sent."""
    sent = size - 1
    return [min(WORD, sent - at) for at in range(0, sent, WORD)]


def _times_bits(maker: Maker, rows: Sequence[Words], size: int) -> list[tuple[Bits, Words]]:
    """This party's XOR shares of a random bit each, and of that bit times a row that is one-hot."""
    link, widths = maker.ot.session.link, _widths(size)
    taken = [[maker.ot.random_ots(sender, *row.shape) for row in rows] for sender in (0, 1)]
    sent, label = taken[maker.rank], labelled(link, VALUES)
    arrays: list[RingArray] = []
    for row, masks in zip(rows, sent, strict=True):
        assert masks.second is not None
        masked = masks.first ^ masks.second ^ row
        arrays += [_word(masked[:, i], width) for i, width in enumerate(widths)]
    link.send(arrays, widths * len(rows), label)
    received = link.recv([spec_of(width, (len(row),)) for row in rows for width in widths], label)
    return [
        _product(row, masks, known, received[i * len(widths) : (i + 1) * len(widths)], size)
        for i, (row, masks, known) in enumerate(zip(rows, sent, taken[1 - maker.rank], strict=True))
    ]


def _product(
    row: Words, own: Masks, known: Masks, received: Sequence[RingArray], size: int
) -> tuple[Bits, Words]:
    """The share of a bit, this party's random choice, and of that bit times a row."""
    bit = known.choices
    assert bit is not None
    total = own.first ^ known.first
    chosen = np.uint64(0) - bit.astype(np.uint64)
    for i, part in enumerate(received):
        total[:, i] ^= (part.astype(np.uint64) ^ row[:, i]) & chosen
    top = np.uint64((size - 1) % WORD)
    total[:, -1] &= (np.uint64(1) << top) - np.uint64(1)
    last = bit.astype(np.uint64) ^ parity(np.bitwise_xor.reduce(total, 1))
    total[:, -1] |= last << top
    return bit, total


def _word(values: Words, width: int) -> RingArray:
    low = values if width == WORD else values & np.uint64((1 << width) - 1)
    return low.astype(spec_of(width, ()).dtype)


class Transfer(Recipe):
    """Random OTs, one in each direction: nothing is sent."""

    def make(self, maker: Maker, count: int, bits: int) -> tuple[torch.Tensor, ...]:
        parts: dict[str, torch.Tensor] = {}
        for sender in (0, 1):
            masks = maker.ot.random_ots(sender, count)
            if masks.second is not None:
                parts["first"], parts["second"] = to_tensor(masks.first[:, 0]), to_tensor(masks.second[:, 0])
            else:
                assert masks.choices is not None
                parts["choice"], parts["known"] = (
                    torch.from_numpy(masks.choices),
                    to_tensor(masks.first[:, 0]),
                )
        return parts["first"], parts["second"], parts["choice"], parts["known"]

    def count(self, costs: Costs, count: int, bits: int) -> None:
        for sender in (0, 1):
            costs.ot.random_ots(sender, count)
