"""Products of bits, XOR-shared, and triples of such."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parties.wire import spec_of
from protocols.two_party.ot.masks import Masks, take_masks
from protocols.two_party.ot.session import Session, pieces
from protocols.two_party.reasons import CHOICES, VALUES

Bits = NDArray[np.uint8]
CHUNK = 1 << 20
"""COTs that one message is about: a multiple of eight."""
_ONE = np.uint64(1)


def bit_products(session: Session, mine: Bits, count: int, sender: int) -> Bits:
    """XOR shares of a & b, where the party `sender` knows a and the other b.

    One COT, a bit each way.

    Args:
        session: this party's.
        mine: uint8 [ceil(count / 8)], packed bits, lowest first: a or b.
        count: bits.
        sender: the rank of the COTs' sender.

    Returns:
        uint8 [ceil(count / 8)], packed; bits past the last are zero.
    """
    require_packed(mine, count)
    out: list[Bits] = []
    for start, stop in pieces(count, CHUNK):
        masks = take_masks(session, sender, stop - start, of=count - start)
        bits = unpacked(mine[start // 8 :], stop - start)
        out.append(np.packbits(_product(session, masks, bits), bitorder="little"))
    return np.concatenate([np.empty(0, np.uint8), *out])


def _product(session: Session, masks: Masks, bits: Bits) -> Bits:
    """As steps of `derandomised`, modulo 2."""
    first = low_bits(masks.first)
    if masks.second is None:
        assert masks.choices is not None
        session.send([bits ^ masks.choices], 1, CHOICES)
        received = session.recv([spec_of(1, bits.shape)], VALUES)[0].astype(np.uint8)
        return first ^ (bits & received)
    second = low_bits(masks.second)
    turned = session.recv([spec_of(1, bits.shape)], CHOICES)[0].astype(np.uint8)
    difference = first ^ second
    session.send([difference ^ bits], 1, VALUES)
    return first ^ (difference & turned)


def bit_triples(session: Session, count: int) -> tuple[Bits, Bits, Bits]:
    """Random bits a and b and c = a & b, all XOR-shared.

    Two COTs, one a direction, and nothing sent. In direction s the party s has both masks of a random OT,
    whose XOR is its share of a; the other's choice is its share of b; so the product of both is shared
    already.

    Returns:
        a, b and c: uint8 [ceil(count / 8)] each, packed, lowest first.
    """
    parts: list[tuple[Bits, Bits, Bits]] = []
    for start, stop in pieces(count, CHUNK):
        a = b = c = np.zeros(0, np.uint8)
        shares: list[Bits] = []
        for sender in range(2):
            masks = take_masks(session, sender, stop - start, of=count - start)
            shares.append(low_bits(masks.first))
            if masks.second is not None:
                a = shares[-1] ^ low_bits(masks.second)
            else:
                assert masks.choices is not None
                b = masks.choices
        c = shares[0] ^ shares[1] ^ (a & b)
        parts.append((_packed(a), _packed(b), _packed(c)))
    nothing = np.empty(0, np.uint8)
    a, b, c = (np.concatenate([nothing, *(part[i] for part in parts)]) for i in range(3))
    return a, b, c


def low_bits(masks: NDArray[np.uint64]) -> Bits:
    """The lowest bits of masks of one word: uint8 [n]."""
    return (masks[:, 0] & _ONE).astype(np.uint8)


def unpacked(packed: Bits, count: int) -> Bits:
    """Zeros and ones: uint8 [count]."""
    return np.unpackbits(packed[: -(-count // 8)], count=count, bitorder="little")


def _packed(bits: Bits) -> Bits:
    return np.packbits(bits, bitorder="little")


def require_packed(mine: Bits, count: int) -> None:
    """Packed bits have the right length."""
    expected = -(-count // 8)
    assert mine.dtype == np.uint8, f"packed bits are bytes, got {mine.dtype}"
    assert mine.shape == (expected,), f"expected {expected} bytes, got {mine.shape}"
