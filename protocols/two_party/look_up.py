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
from protocols.two_party.correlations import Correlations
from protocols.two_party.places import parity
from protocols.two_party.steps import Step

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8]
_TOGETHER = 1 << 14
"""Numbers whose masks lie in memory at once."""
_ONE = np.uint64(1)


def look_up(link: Link, correlations: Correlations, value: torch.Tensor, codes: Codes) -> torch.Tensor:
    """Shares modulo 2^k of slope * x + intercept, exact, k = codes.ring_bits.

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
    count, lines = value.numel(), codes.lines
    step = steps.lines(count, codes)
    own = to_words(value)
    index, lower, upper = (part.numpy() for part in correlations.take(step.requests[0]))
    mine = _index(link, own, codes) - index.view(np.uint64)
    bits = np.uint64((1 << lines.index_bits) - 1)
    label = f"{link.meter.label}/place"
    mine &= bits
    link.send([mine], lines.index_bits, label)
    (theirs,) = link.recv([spec_of(lines.index_bits, (count,))], label)
    opened = (mine + theirs.astype(np.uint64)) & bits
    looked_up = _bits(link, correlations, step, codes, opened, lower.view(np.uint64), upper.view(np.uint64))
    return to_tensor(_line(link, correlations, step, codes, looked_up, own))


def _index(link: Link, own: Words, codes: Codes) -> Words:
    lines = codes.lines
    if link.rank == SERVER:
        start = round(lines.low * 2.0**codes.frac_bits)
        own = own - np.array([start], np.int64).view(np.uint64)
    return own >> np.uint64(lines.dropped_bits(codes.frac_bits))


def _bits(
    link: Link,
    correlations: Correlations,
    step: Step,
    codes: Codes,
    opened: Words,
    lower: Words,
    upper: Words,
) -> Bits:
    """XOR shares of the code's bits: uint8 [bits, n]."""
    digit = np.uint64(codes.lines.digit_bits)
    low = _entries(lower, codes.masks, opened & ((_ONE << digit) - _ONE))
    high = _entries(upper, codes.upper_masks, opened >> digit)
    width = codes.bits
    x = np.concatenate([np.broadcast_to(high[i], (width, len(opened))) for i in (0, 1)])
    y = low[: 2 * width]
    if codes.lines.positive:
        x, y = np.concatenate([x, low[-1:]]), np.concatenate([y, high[2:3] ^ high[3:4]])
    products = ands(link, correlations, x, y, step.requests[1])
    bits = products[:width] ^ products[width : 2 * width]
    for place in range(width):
        if codes.lines.positive and codes.right >> place & 1:
            bits[place] ^= high[2] ^ products[-1]
        if link.rank == SERVER and codes.left >> place & 1:
            bits[place] ^= np.uint8(1)
    return bits


def _entries(rows: Words, masks: Words, places: Words) -> Bits:
    """XORs of the entries of rows that the masks of each row's place name: uint8 [masks, n]."""
    out = np.empty((masks.shape[1], len(rows)), np.uint8)
    for start in range(0, len(rows), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        named = masks[places[part].astype(np.int64)] & rows[part, None, :]
        out[:, part] = parity(np.bitwise_xor.reduce(named, 2)).T
    return out


def _line(link: Link, correlations: Correlations, step: Step, codes: Codes, bits: Bits, own: Words) -> Words:
    """Step 3."""
    server, slopes, count = link.rank == SERVER, codes.slope_bits, len(own)
    intercepts = bits[slopes:]
    sending, choosing = (
        (intercepts[0::2], intercepts[1::2]) if server else (intercepts[1::2], intercepts[0::2])
    )
    chosen = np.concatenate([bits[:slopes], choosing])
    signs = _ONE - (bits[:slopes].astype(np.uint64) << _ONE)
    values = np.concatenate([signs * own, sending.astype(np.uint64)])
    mine, theirs = _transferred(link, correlations, step, codes.widths, values, chosen)
    total = np.zeros(count, np.uint64)
    for i in range(slopes):
        product = bits[i].astype(np.uint64) * own + mine[i] + theirs[i]
        total += product << np.uint64(i)
    for i, row in enumerate(intercepts):
        total += row.astype(np.uint64) << np.uint64(codes.shift + i)
    first = (0, 1) if server else (1, 0)
    for pair in range(codes.intercept_bits // 2):
        for part, offset in zip((mine, theirs), first, strict=True):
            place = codes.shift + 2 * pair + offset + 1
            total -= part[slopes + pair] << np.uint64(place)
    least = np.array(codes.least, np.int64).view(np.uint64)
    total += least[0] * own
    if server:
        total += least[1] << np.uint64(codes.shift)
    return total


def _transferred(
    link: Link, correlations: Correlations, step: Step, widths: list[int], values: Words, chosen: Bits
) -> tuple[Words, Words]:
    """Shares of this party's values times the other's bits, and of the other's values times this party's.

    Args:
        values, chosen: [transfers, n], modulo 2^widths; 0 or 1.
    """
    first, second, choice, known = (part.numpy() for part in correlations.take(step.requests[2]))
    shape, label = chosen.shape, f"{link.meter.label}/choose"
    link.send([chosen.reshape(-1) ^ choice], 1, label)
    (turned,) = link.recv([spec_of(1, (chosen.size,))], label)
    turn = turned.astype(bool).reshape(shape)
    zero, one = (part.view(np.uint64).reshape(shape) for part in (first, second))
    kept = np.where(turn, one, zero)
    masked = kept - np.where(turn, zero, one) + values
    label = f"{link.meter.label}/chosen"
    link.send(
        [row & np.uint64((1 << width) - 1) for row, width in zip(masked, widths, strict=True)], widths, label
    )
    received = link.recv([spec_of(width, shape[1:]) for width in widths], label)
    theirs = np.stack([part.astype(np.uint64) for part in received]) * chosen.astype(np.uint64)
    return np.uint64(0) - kept, known.view(np.uint64).reshape(shape) + theirs
