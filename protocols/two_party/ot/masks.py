"""Random OTs of masks: two words from the sender's blocks, of which the receiver knows one.

The sender hashes q and q xor D, the receiver t, which is one of the two. All three look random to who must
not know them, each under a fresh tweak; an OT of more than 128 bits takes as many tweaks as hashes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.two_party.ot.session import PIECE, Session, pieces

Words = NDArray[np.uint64]
_WORDS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """One party's side of n random OTs of m words.

    Attributes:
        first: uint64 [n, m]; the sender's mask 0, the receiver's only one.
        second: uint64 [n, m], the sender's mask 1; None at the receiver.
        choices: uint8 [n], which mask the receiver knows; None at the sender.
    """

    first: Words
    second: Words | None
    choices: NDArray[np.uint8] | None


def take_masks(session: Session, sender: int, count: int, words: int = 1, of: int = 0) -> Masks:
    """Random OTs from `count` COTs; nothing is sent unless COTs run dry.

    Args:
        session: this party's.
        sender: the rank of the COTs' sender.
        count: OTs.
        words: 64-bit words of a mask.
        of: see `CotStream.take`.
    """
    stream = session.streams[sender]
    blocks = -(-words // _WORDS)
    tweak = session.hash.reserve(count * blocks)
    first = np.empty((count, words), np.uint64)
    second = np.empty((count, words), np.uint64) if stream.is_sender else None
    choices = None if stream.is_sender else np.empty(count, np.uint8)
    for start, stop in pieces(count, max(1, PIECE // blocks)):
        taken = stream.take(stop - start, max(of, count) - start)
        if choices is not None:
            choices[start:stop] = stream.choices(taken)
        repeated = np.repeat(taken, blocks, axis=0) if blocks > 1 else taken
        at = tweak + start * blocks
        first[start:stop] = _words(session.hash.hash(repeated, at), words)
        if second is not None:
            second[start:stop] = _words(session.hash.hash(repeated, at, stream.delta), words)
    return Masks(first, second, choices)


def _words(hashed: Words, words: int) -> Words:
    return hashed.reshape(-1, words + words % _WORDS)[:, :words]
