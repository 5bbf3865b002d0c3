"""Random indices with the one-hot rows of their digits, and random transfers that are used later."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from parties.meter import SERVER
from parties.wire import RingArray, spec_of
from protocols.labels import labelled
from protocols.tensors import to_tensor
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
    3. A bit b_0 xor b_1 is b_0 + b_1 - 2 b_0 b_1: a COT each, in as many bits as are left above it.

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
        own, rows = list[Bits](), list[Words]()
        for digit in (self._digit_bits, bits - self._digit_bits):
            drawn, row = one_hot(maker, count, digit)
            own += drawn
            rows.append(row)
        index = np.zeros(count, np.uint64)
        for place, bit in enumerate(own):
            index += bit.astype(np.uint64) << np.uint64(place)
            left = bits - place - 1
            if left:
                both = maker.ot.additive_bit_products(bit, left, sender=SERVER)
                index -= both << np.uint64(place + 1)
        return index & np.uint64((1 << bits) - 1), rows[0], rows[1]

    def count(self, costs: Costs, count: int, bits: int) -> None:
        for start in range(0, count, _TOGETHER):
            rows = min(_TOGETHER, count - start)
            for digit in (self._digit_bits, bits - self._digit_bits):
                count_one_hot(costs, rows, digit)
            for left in range(bits - 1, 0, -1):
                costs.ot.additive_bit_products(rows, left, sender=SERVER)


def place_cots(digit_bits: int, bits: int) -> tuple[int, int]:
    """COTs that an index takes, by the rank of their sender."""
    rows = digit_bits - 1 + max(0, bits - digit_bits - 1)
    return rows + bits - 1, rows


def one_hot(maker: Maker, count: int, bits: int) -> tuple[list[Bits], Words]:
    """This party's XOR shares of random bits, lowest first, and of the one-hot row of their number.

    Returns:
        uint8 [count] each; uint64 [count, words], entry v in bit v % 64 of word v // 64.
    """
    first = maker.bits(count)
    own = [first]
    row = np.zeros((count, max(1, (1 << bits) // WORD)), np.uint64)
    chosen = first.astype(np.uint64)
    row[:, 0] = chosen << np.uint64(1) | (chosen ^ np.uint64(maker.rank == SERVER))
    for level in range(1, bits):
        bit, product = _times_bit(maker, row[:, : max(1, (1 << level) // WORD)], 1 << level)
        own.append(bit)
        size = 1 << level
        if size < WORD:
            row[:, 0] ^= product[:, 0] ^ (product[:, 0] << np.uint64(size))
        else:
            words = size // WORD
            row[:, :words] ^= product
            row[:, words : 2 * words] = product
    return own, row


def count_one_hot(costs: Costs, count: int, bits: int) -> None:
    """Charges what `one_hot` sends."""
    for level in range(1, bits):
        for sender in (0, 1):
            costs.ot.random_ots(sender, count, max(1, (1 << level) // WORD))
            costs.ot.message(1 - sender, *((count, width) for width in _widths(1 << level)))


def _widths(size: int) -> list[int]:
    """Bits of the words in which all entries of a row but the last are sent."""
    sent = size - 1
    return [min(WORD, sent - at) for at in range(0, sent, WORD)]


def _times_bit(maker: Maker, row: Words, size: int) -> tuple[Bits, Words]:
    """This party's XOR shares of a random bit, and of that bit times a row that is one-hot."""
    count, words, link = len(row), row.shape[1], maker.ot.session.link
    widths = _widths(size)
    total, bit = np.zeros((count, words), np.uint64), np.zeros(0, np.uint8)
    for sender in (0, 1):
        masks = maker.ot.random_ots(sender, count, words)
        total ^= masks.first
        if masks.second is not None:
            masked = masks.first ^ masks.second ^ row
            sent = [_word(masked[:, i], width) for i, width in enumerate(widths)]
            link.send(sent, widths, labelled(link, VALUES))
            continue
        assert masks.choices is not None
        bit = masks.choices
        chosen = np.uint64(0) - bit.astype(np.uint64)
        received = link.recv([spec_of(width, (count,)) for width in widths], labelled(link, VALUES))
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
