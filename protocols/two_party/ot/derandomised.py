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
from protocols.kernels.turned_masks import add_chosen, turn_masks
from protocols.two_party.ot.masks import Masks
from protocols.two_party.ot.session import Session
from protocols.two_party.reasons import CHOICES, VALUES

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8]


def send_products(
    session: Session, masks: Masks, values: Words, widths: list[int], *, random_choices: bool = False
) -> Words:
    """The sender's shares.

    Args:
        session: this party's.
        masks: of n OTs of m words; used up.
        values: uint64 [r, m], v; n is a multiple of r, and OT i has the values i % r.
        widths: bits of the ring; the OTs are split evenly among the widths.
        random_choices: the receiver's bits are its random choices.

    Returns:
        uint64 [n, m], unreduced: bits above the width are noise.
    """
    assert masks.second is not None
    turns = np.empty(0, np.uint8)
    if not random_choices:
        specs = [spec_of(1, (len(masks.first),))]
        turns = session.recv(specs, CHOICES)[0].astype(np.uint8, copy=False)
    turn_masks(masks.first, masks.second, turns, np.ascontiguousarray(values))
    session.send(_by_width(masks.second, widths), widths, VALUES)
    return masks.first


def receive_products(session: Session, masks: Masks, bits: Bits | None, widths: list[int]) -> Words:
    """The receiver's shares; `bits` are uint8 [n], zeros and ones, or None for its random choices."""
    assert masks.choices is not None
    if bits is not None:
        session.send([bits ^ masks.choices], 1, CHOICES)
    else:
        bits = masks.choices
    rows, columns = masks.first.shape
    group = rows // len(widths)
    received = session.recv([spec_of(width, (group, columns)) for width in widths], VALUES)
    for number, part in enumerate(received):
        add_chosen(masks.first, number * group, bits, part)
    return masks.first


def _by_width(values: Words, widths: list[int]) -> list[RingArray]:
    """Equal groups of rows, each in the type of its width."""
    groups = np.split(values, len(widths))
    return [
        cast("RingArray", group.astype(spec_of(width, ()).dtype))
        for group, width in zip(groups, widths, strict=True)
    ]
