"""Whose word is larger: digits of four bits by look-up, then a tree of ANDs."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parties.link import Link
from parties.meter import SERVER
from parties.randomness import SystemRandom
from parties.wire import Spec
from protocols.two_party import steps
from protocols.two_party.correlations import ENTRY_BITS, TABLE_BITS, TABLE_SIZE, Correlations, Request

Bits = NDArray[np.uint8]
_LESS, _EQUAL = 1, 2
"""What the bits of an entry say."""
_EVERYWHERE = np.uint32(((1 << TABLE_BITS) - 1) // ((1 << ENTRY_BITS) - 1))
"""An entry times this is a table of that entry alone."""
_TABLES = np.array(
    [
        sum(
            (_LESS * (own < other) | _EQUAL * (own == other)) << ENTRY_BITS * other
            for other in range(TABLE_SIZE)
        )
        for own in range(TABLE_SIZE)
    ],
    np.uint32,
)
"""By the server's digit, entries for every digit of the client's, the lowest first."""


def less_than(link: Link, correlations: Correlations, word: torch.Tensor, bits: int) -> torch.Tensor:
    """XOR shares, 0 or 1, of whether the server's word is less than the client's.

    1. Of every digit, the server makes a table: for each of the 16 digits that the client may have, whether
       its own is less and whether it is equal, each XOR a random bit, which is its share.
    2. Tables of random entries were dealt with ahead: the server knows all, the client one and which. The
       client sends the difference between its digit and that place; the server turns its table so that the
       client's entry lies there, and sends all entries masked. The client can read its own.
    3. Neighbouring blocks are joined, the higher first: less where the higher is less, or equal and the lower
       is less; equal where both are. Two ANDs, of bits opened under random bits.

    Args:
        word: this party's, int64 [n], from 0 to below 2^bits.

    Cost: 2 + log2(digits) rounds; the client sends 4 bits a digit and the server 32; two bits for each AND.
    Reveals: to the server a uniform place; to the client one entry, uniform; bits XOR uniform bits.
    Source: millionaires' protocol of CrypTFlow2 (CCS 2020), with look-ups dealt with ahead.
    """
    count, first = word.numel(), steps.compare(word.numel(), bits)
    digits = -(-bits // steps.DIGIT_BITS)
    flat = word.numpy()
    mine = np.stack([(flat >> (steps.DIGIT_BITS * i)) & (TABLE_SIZE - 1) for i in range(digits)])
    label = f"{link.meter.label}/digits"
    parts = correlations.take(first.requests[0])
    look_up = _serve if link.rank == SERVER else _ask
    entries = look_up(link, label, mine.astype(np.uint8), [part.numpy() for part in parts])
    less, equal = entries & np.uint8(_LESS), entries >> np.uint8(1)
    for request in first.requests[1:]:
        less, equal = _join(link, correlations, less, equal, request)
    assert less.shape == (1, count)
    return torch.from_numpy(less[0].astype(np.int64))


def _serve(link: Link, label: str, digits: Bits, parts: list[NDArray[Any]]) -> Bits:
    """The server's shares of both bits of every digit, as entries."""
    pads = parts[0].view(np.uint32)
    (places,) = link.recv([Spec(steps.DIGIT_BITS, (digits.size,))], label)
    own = SystemRandom().uint8((digits.size,)) & np.uint8((1 << ENTRY_BITS) - 1)
    up = places.astype(np.uint32) * np.uint32(ENTRY_BITS)
    masked = _TABLES[digits.reshape(-1)]
    masked ^= own * _EVERYWHERE
    masked ^= (pads << up) | (pads >> ((np.uint32(TABLE_BITS) - up) & np.uint32(TABLE_BITS - 1)))
    link.send([masked], TABLE_BITS, label)
    return own.reshape(digits.shape)


def _ask(link: Link, label: str, digits: Bits, parts: list[Bits]) -> Bits:
    """The client's."""
    place, pad = parts
    flat = digits.reshape(-1)
    link.send([(flat - place) & np.uint8(TABLE_SIZE - 1)], steps.DIGIT_BITS, label)
    (masked,) = link.recv([Spec(TABLE_BITS, (flat.size,))], label)
    entries = masked >> (flat.astype(np.uint32) * np.uint32(ENTRY_BITS)) & np.uint32((1 << ENTRY_BITS) - 1)
    return (entries.astype(np.uint8) ^ pad).reshape(digits.shape)


def _join(
    link: Link, correlations: Correlations, less: Bits, equal: Bits, request: Request
) -> tuple[Bits, Bits]:
    """One level: pairs of blocks, lowest first; a last one without a partner waits."""
    blocks = len(less)
    pairs = blocks // 2
    low, high = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    # The lowest block's equality is never used: its pair takes one AND, the others two.
    x = np.concatenate([equal[high], equal[high][1:]])
    y = np.concatenate([less[low], equal[low][1:]])
    products = ands(link, correlations, x, y, request)
    joined_less = less[high] ^ products[:pairs]
    joined_equal = np.concatenate([equal[high][:1], products[pairs:]])
    if blocks % 2:
        joined_less = np.concatenate([joined_less, less[-1:]])
        joined_equal = np.concatenate([joined_equal, equal[-1:]])
    return joined_less, joined_equal


def ands(link: Link, correlations: Correlations, x: Bits, y: Bits, request: Request) -> Bits:
    """XOR shares of x & y."""
    a, b, ab = (part.numpy() for part in correlations.take(request))
    both = np.concatenate([x.reshape(-1) ^ a, y.reshape(-1) ^ b])
    label = f"{link.meter.label}/and"
    link.send([both], 1, label)
    (theirs,) = link.recv([Spec(1, both.shape)], label)
    both = both ^ theirs.astype(np.uint8)
    d, e = both[: a.size], both[a.size :]
    value = ab ^ (d & b) ^ (e & a)
    if link.rank == SERVER:
        value ^= d & e
    return value.reshape(x.shape)
