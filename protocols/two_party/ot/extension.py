"""Correlated OTs by extension of base OTs, for parties that follow the protocol.

The sender holds a secret block D and a block q an OT; the receiver a random choice bit c and t = q xor c D.
Ishai, Kilian, Nissim, Petrank, "Extending Oblivious Transfers Efficiently" (CRYPTO 2003): the receiver of the
correlated OTs has both keys of 128 base OTs, the sender one of each, chosen by the bits of D. From both keys
of base OT i the receiver expands columns and sends the XOR of both and the choices; that column hides the
choices, and D never leaves the sender. Keys are expanded by AES-128 in counter mode, a pseudorandom
generator.

The lowest bit of D is 1 and the lowest bit of q is 0, so that the lowest bit of t is the choice: column 0 is
the choices, and nothing is sent for it. So D has 127 unknown bits.

A COT costs 127 bits from receiver to sender, in one message.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from parties.link import Link
from parties.randomness import AesCtrStream
from parties.wire import spec_of
from protocols.kernels.bit_transpose import transpose_bits
from protocols.labels import labelled
from protocols.two_party.ot.base import COUNT
from protocols.two_party.reasons import EXTENSION

Words = NDArray[np.uint64]
WORD_BITS = 64
COLUMNS = COUNT - 1
"""Columns that are sent."""


def padded(count: int) -> int:
    """COTs that an extension makes when so many are asked for: whole words of columns."""
    return -(-count // WORD_BITS) * WORD_BITS


def extension_bytes(count: int) -> int:
    """Payload from receiver to sender."""
    return COLUMNS * padded(count) // 8


class ExtensionSender:
    """The sender's side.

    Args:
        keys: uint8 [128, 16], those that the bits of `delta` chose.
        delta: uint64 [2], its lowest bit 1.
    """

    def __init__(self, keys: NDArray[np.uint8], delta: Words) -> None:
        assert int(delta[0]) & 1, "the lowest bit of the offset is 1"
        self._streams = [AesCtrStream(key.tobytes()) for key in keys[1:]]
        bits = np.unpackbits(delta.view(np.uint8), bitorder="little")[1:]
        self._masks = (np.uint64(0) - bits.astype(np.uint64))[:, None]

    def extend(self, link: Link, count: int) -> Words:
        """Blocks q: uint64 [padded(count), 2], lowest bits zero."""
        words = padded(count) // WORD_BITS
        specs = [spec_of(WORD_BITS, (COLUMNS, words))]
        sent = cast("Words", link.recv(specs, labelled(link, EXTENSION))[0])
        columns = np.zeros((COUNT, words), np.uint64)
        for row, stream in enumerate(self._streams):
            columns[row + 1] = stream.uint64((words,))
        columns[1:] ^= sent & self._masks
        return transpose_bits(columns)


class ExtensionReceiver:
    """The receiver's side.

    Args:
        keys: uint8 [128, 2, 16].
    """

    def __init__(self, keys: NDArray[np.uint8]) -> None:
        self._choices = AesCtrStream(keys[0, 0].tobytes())
        self._streams = [[AesCtrStream(key.tobytes()) for key in pair] for pair in keys[1:]]

    def extend(self, link: Link, count: int) -> Words:
        """Blocks t: uint64 [padded(count), 2]; the lowest bit of each is its choice."""
        words = padded(count) // WORD_BITS
        columns = np.empty((COUNT, words), np.uint64)
        columns[0] = self._choices.uint64((words,))
        sent = np.empty((COLUMNS, words), np.uint64)
        for row, (first, second) in enumerate(self._streams):
            columns[row + 1] = first.uint64((words,))
            np.bitwise_xor(columns[row + 1], second.uint64((words,)), out=sent[row])
        sent ^= columns[0]
        link.send([sent], WORD_BITS, labelled(link, EXTENSION))
        return transpose_bits(columns)
