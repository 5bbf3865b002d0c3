"""Products of a receiver's bits and a sender's values, from random OTs: the one step that conversions share.

With masks x_0, x_1 at the sender and x_c at the receiver, who has the bit b:

1. The receiver sends d = b xor c, a bit an OT; where its bits may be random, b is c and nothing is sent.
2. The sender sends e = y_0 - y_1 + v, with y_i = x_{i xor d}, modulo 2^k.
3. Shares of b v are -y_0 at the sender, y_b + b e at the receiver.

d is uniform, as c is; e is, as the mask that the receiver does not know is.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from parties.wire import RingArray, spec_of
from protocols.two_party.ot.masks import Masks
from protocols.two_party.ot.session import Session

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8]


def send_products(
    session: Session, masks: Masks, values: Words, widths: list[int], *, random_choices: bool = False
) -> Words:
    """The sender's shares.

    Args:
        session: this party's.
        masks: of n OTs of m words.
        values: uint64 [n, m], v; column j counts modulo 2^widths[j * len(widths) // ...], see `by_width`.
        widths: bits of the ring, one a group of rows: rows are split evenly among the widths.
        random_choices: the receiver's bits are its random choices.

    Returns:
        uint64 [n, m], unreduced: words above the width are noise.
    """
    assert masks.second is not None
    first, second = masks.first, masks.second
    if not random_choices:
        turned = session.link.recv([spec_of(1, (len(first),))])[0].astype(bool)[:, None]
        first, second = np.where(turned, second, first), np.where(turned, first, second)
    sent = first - second + values
    session.link.send(_by_width(sent, widths), widths)
    return np.uint64(0) - first


def receive_products(session: Session, masks: Masks, bits: Bits | None, widths: list[int]) -> Words:
    """The receiver's shares; `bits` are uint8 [n], zeros and ones, or None for its random choices."""
    assert masks.choices is not None
    if bits is not None:
        session.link.send([bits ^ masks.choices], 1)
    else:
        bits = masks.choices
    rows, columns = masks.first.shape
    specs = [spec_of(width, (rows // len(widths), columns)) for width in widths]
    received = np.concatenate([part.astype(np.uint64) for part in session.link.recv(specs)])
    received *= bits[:, None].astype(np.uint64)
    received += masks.first
    return received


def _by_width(values: Words, widths: list[int]) -> list[RingArray]:
    """Equal groups of rows, each in the type of its width."""
    groups = np.split(values, len(widths))
    return [
        cast("RingArray", group.astype(spec_of(width, ()).dtype))
        for group, width in zip(groups, widths, strict=True)
    ]
