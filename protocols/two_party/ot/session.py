"""After base OTs: a stream of COTs in each direction, and a hash whose tweaks never repeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parties.link import Link
from parties.randomness import Randomness
from parties.wire import RingArray, Spec
from protocols.kernels.aes import Hash
from protocols.kernels.option_masks import option_masks
from protocols.kernels.tweaked_hash import tweaked_hash
from protocols.labels import labelled
from protocols.two_party.ot.base import COUNT, receive_base, send_base
from protocols.two_party.ot.extension import ExtensionReceiver, ExtensionSender
from protocols.two_party.ot.silent import public_key
from protocols.two_party.ot.stream import CotStream

Words = NDArray[np.uint64]

PIECE = 1 << 16
"""Blocks that are hashed together."""
_LAST_TWEAK = 1 << 63


class TweakedHash:
    """The hash of OTs: TMMO (`protocols.kernels.tweaked_hash`) under a public key, with a counter for tweaks.

    What is assumed: it is tweakable correlation robust, so that for a secret D the hashes of q xor D, and of
    q xor v D for multiples v in GF(2^128), look random to who knows q. In the ideal-permutation model it is
    (Guo et al., IEEE S&P 2020, section 7.4), as long as no pair of block and tweak returns.
    """

    def __init__(self, key: bytes) -> None:
        self._hash, self.used = Hash(key), 0

    def reserve(self, count: int) -> int:
        """The first of so many tweaks that are given out to nobody else."""
        assert self.used + count <= _LAST_TWEAK, "tweaks would repeat"
        first, self.used = self.used, self.used + count
        return first

    def hash(self, blocks: Words, first: int, offset: Words | None = None) -> Words:
        """Hashes of blocks xor an offset, under the tweaks from `first` on: uint64 [n, 2]."""
        return tweaked_hash(self._hash, blocks, first, 0, offset)

    def options(self, blocks: Words, offsets: Words, first: int, bits: int) -> Words:
        """Low bits of hashes of blocks xor every offset, a tweak a block: uint64 [n, N]."""
        return option_masks(self._hash, blocks, offsets, first, bits)


@dataclass(eq=False)
class Session:
    """One party's part.

    Attributes:
        link: to the other party.
        randomness: this party's own.
        streams: by the rank of the COTs' sender.
        hash: shared by all conversions.
    """

    link: Link
    randomness: Randomness
    streams: tuple[CotStream, CotStream]
    hash: TweakedHash

    @property
    def rank(self) -> int:
        """This party, 0 or 1."""
        return rank_of(self.link)

    def is_sender(self, sender: int) -> bool:
        """Whether this party sends where the party `sender` does."""
        assert sender in {0, 1}
        return self.rank == sender

    def send(self, arrays: Sequence[RingArray], bits: int | Sequence[int], reason: str) -> None:
        """See `Link.send`; `reason` ends the label."""
        self.link.send(arrays, bits, labelled(self.link, reason))

    def recv(self, specs: Sequence[Spec], reason: str) -> list[RingArray]:
        """See `Link.recv`; `reason` ends the label."""
        return self.link.recv(specs, labelled(self.link, reason))


def rank_of(link: Link) -> int:
    """The rank of the party at this end of a link between both."""
    assert link.rank is not None, "a link between the two parties has a rank"
    return link.rank


def set_up(link: Link, randomness: Randomness) -> Session:
    """Runs base OTs in both directions.

    Sends and receives 12 288 bytes in two exchanges. Nobody learns the other's offset or choices.

    Raises:
        MalformedFrame: the peer sent what is no point of the group.
    """
    rank = rank_of(link)
    streams: list[CotStream] = []
    digests: list[bytes] = []
    for sender in range(2):
        if rank == sender:
            delta = randomness.uint64((2,))
            delta[0] |= np.uint64(1)
            bits = np.unpackbits(delta.view(np.uint8), bitorder="little")
            assert len(bits) == COUNT
            keys, digest = receive_base(link, bits, randomness)
            streams.append(CotStream(link, ExtensionSender(keys, delta), digest, delta))
        else:
            keys, digest = send_base(link, randomness)
            streams.append(CotStream(link, ExtensionReceiver(keys), digest))
        digests.append(digest)
    key = public_key(b"".join(digests), b"hash")
    return Session(link, randomness, (streams[0], streams[1]), TweakedHash(key))


def pieces(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Bounds of pieces that together are 0 .. count."""
    for first in range(0, count, size):
        yield first, min(first + size, count)
