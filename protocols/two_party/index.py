"""Numbers opened under random indices, and what the one-hot rows of their digits say at such places."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from parties.link import Link
from parties.meter import SERVER
from parties.wire import spec_of
from protocols.tensors import to_words
from protocols.two_party import steps
from protocols.two_party.comparison import ands
from protocols.two_party.correlations import PLACE_BITS, Correlations, Request
from protocols.two_party.rows import packed, parity, sums

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8]
_TOGETHER = 1 << 14
"""Rows whose masks lie in memory at once."""
_ONE = np.uint64(1)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A number minus a random index.

    Attributes:
        low, high: the difference's digits, uint64 [n].
        lower, upper: this party's shares of the one-hot rows of the index's digits, [n, words].
    """

    low: Words
    high: Words
    lower: Words
    upper: Words


def open_index(link: Link, correlations: Correlations, request: Request, own: Words) -> Opened:
    """Opens a shared number modulo 2^bits minus a random index.

    Args:
        own: this party's share, uint64 [n].

    Cost: `bits` bits each way.
    Reveals: a uniform number.
    """
    digit = np.uint64(PLACE_BITS[request.kind])
    index, lower, upper = (part.numpy().view(np.uint64) for part in correlations.take(request))
    everything = np.uint64((1 << request.bits) - 1)
    mine, label = (own - index) & everything, f"{link.meter.label}/place"
    link.send([mine], request.bits, label)
    (theirs,) = link.recv([spec_of(request.bits, mine.shape)], label)
    opened = (mine + theirs.astype(np.uint64)) & everything
    return Opened(opened & ((_ONE << digit) - _ONE), opened >> digit, lower, upper)


def entries(rows: Words, masks: Words, places: Words) -> Bits:
    """XORs of those entries of each row that the masks of its place name: uint8 [masks, n].

    Args:
        rows: uint64 [n, words].
        masks: [places, masks, words].
        places: [n].
    """
    out = np.empty((masks.shape[1], len(rows)), np.uint8)
    for start in range(0, len(rows), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        named = masks[places[part].astype(np.int64)] & rows[part, None, :]
        out[:, part] = parity(np.bitwise_xor.reduce(named, 2)).T
    return out


def is_negative(link: Link, correlations: Correlations, value: torch.Tensor, bits: int) -> torch.Tensor:
    """XOR shares, 0 or 1, of whether numbers modulo 2^bits, read as signed, are negative.

    1. The number is opened minus a random index.
    2. Its sign is the top bit of the sum of upper digits and the carry out of the lower ones: A where there
       is no carry, B where there is, both XORs of a row's entries. A xor carry (A xor B): one AND.

    Args:
        value: this party's shares, int64 [n].

    Cost: `steps.sign`: 2 rounds, bits + 2 bits each way.
    Reveals: uniform numbers and bits.
    Source: FLUTE (S&P 2023) for look-ups by one-hot rows.
    """
    step = steps.sign(value.numel(), bits)
    opened = open_index(link, correlations, step.requests[0], to_words(value))
    digit = PLACE_BITS[step.requests[0].kind]
    carry = entries(opened.lower, _carries(digit), opened.low)
    without, with_carry = entries(opened.upper, _tops(bits - digit), opened.high)
    product = ands(link, correlations, carry, (without ^ with_carry)[None], step.requests[1])
    return torch.from_numpy((without ^ product[0]).astype(np.int64))


@lru_cache(maxsize=4)
def _carries(digit_bits: int) -> Words:
    return packed((sums(digit_bits) >> digit_bits).astype(np.int64))[:, None, :]


@lru_cache(maxsize=16)
def _tops(digit_bits: int) -> Words:
    total = sums(digit_bits)
    tops = [(value >> (digit_bits - 1)) & 1 for value in (total, total + 1)]
    return packed(np.stack(tops, 1).astype(np.int64))


def dropped(link: Link, value: torch.Tensor, start: int, bits: int) -> Words:
    """This party's share of value - start without its low bits: the sum is the right one, or one less."""
    own = to_words(value)
    if link.rank == SERVER and start:
        own = own - np.array([start], np.int64).view(np.uint64)
    return own >> np.uint64(bits)
