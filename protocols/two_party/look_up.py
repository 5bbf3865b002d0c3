"""Lines at shared numbers: which one by look-up, then its slope times the number, plus its intercept."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from parties.link import Link
from parties.meter import SERVER
from parties.wire import spec_of
from protocols.tensors import to_tensor, to_words
from protocols.two_party import steps
from protocols.two_party.codes import Codes
from protocols.two_party.comparison import ands
from protocols.two_party.correlations import Correlations, Request
from protocols.two_party.index import Opened, dropped, entries, open_index

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8]
_ONE = np.uint64(1)


def look_up(link: Link, correlations: Correlations, value: torch.Tensor, codes: Codes) -> torch.Tensor:
    """Shares modulo 2^k of slope * x + intercept, exact, k = codes.ring_bits; the sum of them over T tables.

    1. Of both shares the low bits are dropped; what is left adds up to the index of x's piece, or one less.
       It is opened minus a random index r.
    2. Both digits of r have shared one-hot rows: what a table has at the sum of a public number and a digit
       is a XOR of entries. The sum of the lower digits may carry. A, B: the upper digit is zero where it does
       not and where it does; U_j, V_j: bit j of the table where it does not and where it does. Bit j is then
       A U_j xor B V_j, all relative to the bits that hold left of all pieces; those on its right likewise.
    3. A bit b = b_0 xor b_1 times x = x_0 + x_1 is the sum of b_0 x_0, b_1 x_1, b_1 (1 - 2 b_0) x_0 and
       b_0 (1 - 2 b_1) x_1: each party chooses by its bit from two messages of the other's, under masks of
       random transfers. A bit of the intercept is b_0 + b_1 - 2 b_0 b_1.

    Args:
        value: this party's shares of x, int64 [n], in a ring of at least k bits.

    Cost: `steps.lines`: 4 rounds; m bits each way, 2 an AND, 1 a transfer, and its width.
    Reveals: an index minus a uniform one; bits XOR uniform ones; numbers minus masks that their receiver does
    not know.
    Source: FLUTE (S&P 2023) for step 2; step 3 is Gilboa's product with transfers dealt ahead.
    """
    step, tables = steps.lines(value.numel(), codes), len(codes.tables)
    places = [
        dropped(link, value, round(table.low * 2.0**codes.frac_bits), table.dropped_bits(codes.frac_bits))
        for table in codes.tables
    ]
    opened = open_index(link, correlations, step.requests[0], np.concatenate(places))
    bits = _bits(link, correlations, step.requests[1], codes, opened)
    each = _line(link, correlations, step.requests[2], codes, bits, np.tile(to_words(value), tables))
    return to_tensor(each.reshape(tables, -1).sum(0, dtype=np.uint64))


def _bits(link: Link, correlations: Correlations, request: Request, codes: Codes, opened: Opened) -> Bits:
    """XOR shares of the codes' bits: uint8 [bits, T n]."""
    tables = len(codes.tables)
    count, width = len(opened.low) // tables, codes.bits
    table = np.arange(tables, dtype=np.uint64).repeat(count)
    low = entries(opened.lower, codes.masks, opened.low + (table << np.uint64(codes.digit_bits)))
    high = entries(opened.upper, codes.upper_masks, opened.high + (table << np.uint64(codes.upper_bits)))
    x = np.concatenate([np.broadcast_to(high[i], (width, tables * count)) for i in (0, 1)])
    y = low[: 2 * width]
    if codes.has_right:
        x, y = np.concatenate([x, low[-1:]]), np.concatenate([y, high[2:3] ^ high[3:4]])
    products = ands(link, correlations, x, y, request)
    bits = products[:width] ^ products[width : 2 * width]
    left, right = codes.outer.astype(np.uint8).repeat(count, axis=2)
    if codes.has_right:
        bits ^= right & (high[2] ^ products[-1])
    return bits ^ left if link.rank == SERVER else bits


def _line(
    link: Link, correlations: Correlations, request: Request, codes: Codes, bits: Bits, own: Words
) -> Words:
    """Step 3."""
    server, slopes, count = link.rank == SERVER, codes.slope_bits, len(own)
    intercepts, first = bits[slopes:], 0 if server else 1
    sending, choosing = intercepts[first::2], intercepts[1 - first :: 2]
    signs = _ONE - (bits[:slopes].astype(np.uint64) << _ONE)
    values = np.concatenate([signs * own, sending.astype(np.uint64)])
    chosen = np.concatenate([bits[:slopes], choosing])
    mine, theirs = _transferred(link, correlations, request, codes.widths, values, chosen)
    total = np.zeros(count, np.uint64)
    for i in range(slopes):
        product = bits[i].astype(np.uint64) * own + mine[i] + theirs[i]
        total += product << np.uint64(i)
    for i, row in enumerate(intercepts):
        total += row.astype(np.uint64) << np.uint64(codes.shift + i)
        part = (mine, theirs)[(i + first) % 2]
        total -= part[slopes + i // 2] << np.uint64(codes.shift + i + 1)
    least = np.array(codes.least, np.int64).view(np.uint64)
    total += least[0] * own
    return total + (least[1] << np.uint64(codes.shift)) if server else total


def _transferred(
    link: Link, correlations: Correlations, request: Request, widths: list[int], values: Words, chosen: Bits
) -> tuple[Words, Words]:
    """Shares of this party's values times the other's bits, and of the other's values times this party's.

    Args:
        values, chosen: [transfers, n], modulo 2^widths; 0 or 1.
    """
    first, second, choice, known = (part.numpy() for part in correlations.take(request))
    shape, label = chosen.shape, f"{link.meter.label}/choose"
    link.send([chosen.reshape(-1) ^ choice], 1, label)
    (turned,) = link.recv([spec_of(1, (chosen.size,))], label)
    turn = turned.astype(bool).reshape(shape)
    zero, one = (part.view(np.uint64).reshape(shape) for part in (first, second))
    kept = np.where(turn, one, zero)
    masked = kept - np.where(turn, zero, one) + values
    label = f"{link.meter.label}/chosen"
    rows = [row & np.uint64((1 << width) - 1) for row, width in zip(masked, widths, strict=True)]
    link.send(rows, widths, label)
    received = link.recv([spec_of(width, shape[1:]) for width in widths], label)
    theirs = np.stack([part.astype(np.uint64) for part in received]) * chosen.astype(np.uint64)
    return np.uint64(0) - kept, known.view(np.uint64).reshape(shape) + theirs
