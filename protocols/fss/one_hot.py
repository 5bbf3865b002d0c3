"""One-hot vectors at points the dealer knows, shared whole: smaller than function keys on small domains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parties.packing import unpack_elements
from parties.wire import Spec
from protocols.fss.dealing import Dealing
from protocols.fss.material import Packed, Shape
from protocols.fss.party import Party
from protocols.tensors import to_tensor, to_words

MIN_DOMAIN_BITS = 3
"""So that a vector takes whole bytes."""
_SPAN = 3
"""Bytes in which an entry of up to 16 bits lies, wherever it starts."""


@dataclass(frozen=True, slots=True)
class OneHots:
    """For every element of a shape a vector of 2^domain_bits entries: the server's part minus the client's.

    All is modulo 2^value_bits. The client draws its part, uniform; the server is sent the same with 1 added
    to one entry, 2^domain_bits value_bits bits a vector.

    Attributes:
        domain_bits: 3 or more.
        value_bits: 1 to 16.
    """

    shape: Shape
    domain_bits: int
    value_bits: int

    def __post_init__(self) -> None:
        assert self.domain_bits >= MIN_DOMAIN_BITS
        assert 1 <= self.value_bits <= 16

    @property
    def item(self) -> Packed:
        """What it takes of the dealer."""
        return Packed(math.prod(self.shape) * (1 << self.domain_bits) * self.value_bits // 8)

    def deal(self, dealing: Dealing, points: torch.Tensor) -> None:
        """Hands out vectors that are 1 at these points, taken modulo 2^domain_bits."""
        byte, shift = self._places(points & ((1 << self.domain_bits) - 1))
        mask = np.uint64((1 << self.value_bits) - 1)

        def complement(drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
            server = np.append(drawn, np.zeros(_SPAN, np.uint8))
            entry = (_words_at(server, byte) >> shift) & mask
            change = (entry ^ (entry + np.uint64(1)) & mask) << shift
            for i in range(_SPAN):  # no two vectors have bits in one byte
                server[byte + i] ^= (change >> np.uint64(8 * i)).astype(np.uint8)
            return server[: drawn.size]

        dealing.packed(self.item, complement)

    def entries(self, party: Party) -> NDArray[np.unsignedinteger[Any]]:
        """This party's part of everything, uint8 or uint16 [elements, 2^domain_bits]."""
        packed = party.packed(self.item)
        if self.value_bits != 8:
            kind = Spec(self.value_bits, self.shape).dtype
            count = math.prod(self.shape) << self.domain_bits
            packed = unpack_elements(packed.data, self.value_bits, count, kind)
        return packed.reshape(-1, 1 << self.domain_bits)

    def at(self, party: Party, points: torch.Tensor) -> torch.Tensor:
        """This party's additive share of the entries at public points, below 2^domain_bits, one a vector."""
        packed = party.packed(self.item)
        byte, shift = self._places(points)
        entry = _words_at(packed, byte) >> shift & np.uint64((1 << self.value_bits) - 1)
        return (party.first - party.rank) * to_tensor(entry).reshape(points.shape)

    def _places(self, points: torch.Tensor) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Byte in which each vector's entry starts, and at which bit of it."""
        flat = to_words(points).reshape(-1)
        entry = np.arange(flat.size, dtype=np.uint64) * np.uint64(1 << self.domain_bits) + flat
        bit = entry * np.uint64(self.value_bits)
        return (bit >> np.uint64(3)).astype(np.int64), bit & np.uint64(7)


def _words_at(packed: NDArray[np.uint8], byte: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The bytes from each place on, the first one lowest. What is read past the end means nothing."""
    word = np.zeros(byte.size, np.uint64)
    for i in range(_SPAN):
        word |= packed[np.minimum(byte + i, packed.size - 1)].astype(np.uint64) << np.uint64(8 * i)
    return word
