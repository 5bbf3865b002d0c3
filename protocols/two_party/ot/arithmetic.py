"""Products of bits and values modulo 2^k, additively shared, and random bits shared both ways.

All counts are modulo 2^k with k from 1 to 64; results are reduced. `sender` is the rank of the COTs' sender.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.two_party.ot.derandomised import receive_products, send_products
from protocols.two_party.ot.masks import take_masks
from protocols.two_party.ot.session import Session, pieces

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8]
CHUNK_WORDS = 1 << 20
"""Words of masks that one message is about."""


def chunk_rows(words: int) -> int:
    """OTs that one message is about, of so many words each."""
    return max(1, CHUNK_WORDS // max(1, words))


def wide_chunk_rows(columns: int) -> int:
    """Of `bit_products_by_width`: few messages, as others wait for them."""
    return max(1, 4 * CHUNK_WORDS // columns)


def additive_bit_products(session: Session, mine: Bits, ring_bits: int, sender: int) -> Words:
    """Additive shares of a & b, where the party `sender` knows the bit a and the other b.

    One COT, 1 bit to the sender and k to the receiver.

    Args:
        session: this party's.
        mine: uint8 [n], zeros and ones.
        ring_bits: k.
        sender: see above.

    Returns:
        uint64 [n].
    """
    own = mine.astype(np.uint64) if session.is_sender(sender) else mine
    return bit_times_value(session, own, mine.shape, ring_bits, sender)


def bit_products_by_width(session: Session, mine: Bits, widths: list[int], sender: int) -> Words:
    """As `additive_bit_products`, of rows that are shared modulo different powers of two: 2 rounds for all.

    Args:
        mine: uint8 [W, n], zeros and ones.
        widths: k of each row, W of them.

    Returns:
        uint64 [W, n].
    """
    assert len(mine) == len(widths)
    out = np.empty(mine.shape, np.uint64)
    for start, stop in pieces(mine.shape[1], wide_chunk_rows(len(widths))):
        masks = take_masks(session, sender, len(widths) * (stop - start))
        part = mine[:, start:stop].reshape(-1)
        if session.is_sender(sender):
            shares = send_products(session, masks, part.astype(np.uint64)[:, None], widths)
        else:
            shares = receive_products(session, masks, part, widths)
        out[:, start:stop] = shares.reshape(len(widths), -1)
    return out & ((np.uint64(1) << np.array(widths, np.uint64)) - np.uint64(1))[:, None]


def bit_times_value(
    session: Session, mine: Words | Bits, shape: tuple[int, ...], ring_bits: int, sender: int
) -> Words:
    """Additive shares of b v, where the party `sender` knows values v and the other bits b.

    One COT a bit; 1 bit to the sender and m k to the receiver.

    Args:
        session: this party's.
        mine: the sender's values, uint64 of `shape`; the receiver's bits, uint8 [n], zeros and ones.
        shape: of the values: [n], or [n, m] where a bit multiplies a row.
        ring_bits: k.
        sender: see above.

    Returns:
        uint64 of `shape`.
    """
    rows, columns = shape[0], shape[1] if len(shape) == 2 else 1
    require_ring(ring_bits)
    is_sender = session.is_sender(sender)
    own = mine.reshape(rows, columns) if is_sender else mine
    assert len(own) == rows, f"expected {rows} rows, got {len(own)}"
    out = np.empty((rows, columns), np.uint64)
    for start, stop in pieces(rows, chunk_rows(columns)):
        masks = take_masks(session, sender, stop - start, columns, of=rows - start)
        part = own[start:stop]
        if is_sender:
            out[start:stop] = send_products(session, masks, part.astype(np.uint64), [ring_bits])
        else:
            out[start:stop] = receive_products(session, masks, part.astype(np.uint8), [ring_bits])
    return reduced(out, ring_bits).reshape(shape)


def dabits(session: Session, count: int, ring_bits: int, sender: int) -> tuple[Bits, Words]:
    """Random bits r, XOR-shared and additively shared.

    One COT; k - 1 bits from sender to receiver and nothing back. With shares r_0 and r_1 of the bit, r = r_0
    + r_1 - 2 r_0 r_1; the receiver's share of the bit is its random choice, and the product counts modulo
    2^(k - 1).

    Returns:
        uint8 [count], zeros and ones, and uint64 [count].
    """
    require_ring(ring_bits)
    bits, values = np.empty(count, np.uint8), np.zeros(count, np.uint64)
    for start, stop in pieces(count, CHUNK_WORDS):
        masks = take_masks(session, sender, stop - start, of=count - start)
        if masks.choices is not None:
            own = masks.choices
        else:
            own = session.randomness.ring((stop - start,), 1).astype(np.uint8)
        bits[start:stop] = own
        if ring_bits == 1:
            continue
        if masks.choices is None:
            column = own.astype(np.uint64)[:, None]
            part = send_products(session, masks, column, [ring_bits - 1], random_choices=True)
        else:
            part = receive_products(session, masks, None, [ring_bits - 1])
        values[start:stop] = part[:, 0]
    return bits, reduced(bits.astype(np.uint64) - values * np.uint64(2), ring_bits)


def products(
    session: Session, mine: Words, ring_bits: int, sender: int, receiver_bits: int | None = None
) -> Words:
    """Additive shares of x y modulo 2^k, where the party `sender` knows x and the other y.

    Gilboa, "Two Party RSA Key Generation" (CRYPTO 1999): bit i of y, below 2^w, multiplies x modulo 2^(k -
    i). w COTs, w bits to the sender and k + (k - 1) + ... of w terms to the receiver.

    Args:
        session: this party's.
        mine: uint64 [n], x or y; y below 2^w.
        ring_bits: k.
        sender: see above.
        receiver_bits: w, at most k; None for k.

    Returns:
        uint64 [n].
    """
    require_ring(ring_bits)
    width = ring_bits if receiver_bits is None else receiver_bits
    assert 1 <= width <= ring_bits, f"expected a factor of 1 to {ring_bits} bits, got {width}"
    shifts = np.arange(width, dtype=np.uint64)[:, None]
    widths = [ring_bits - i for i in range(width)]
    out = np.empty(len(mine), np.uint64)
    for start, stop in pieces(len(mine), chunk_rows(width)):
        count, rest = stop - start, (len(mine) - start) * width
        masks = take_masks(session, sender, width * count, of=rest)
        part = mine[start:stop]
        if session.is_sender(sender):
            shares = send_products(session, masks, part[:, None], widths)
        else:
            bits = ((part >> shifts) & np.uint64(1)).astype(np.uint8).reshape(-1)
            shares = receive_products(session, masks, bits, widths)
        out[start:stop] = (shares.reshape(width, count) << shifts).sum(axis=0, dtype=np.uint64)
    return reduced(out, ring_bits)


def reduced(values: Words, ring_bits: int) -> Words:
    """Modulo 2^k."""
    return values & np.uint64((1 << ring_bits) - 1)


def require_ring(ring_bits: int) -> None:
    """From 1 to 64 bits."""
    assert 1 <= ring_bits <= 64, f"expected a ring of 1 to 64 bits, got {ring_bits}"
