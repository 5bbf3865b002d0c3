"""One-hot vectors at points the dealer knows, shared whole: smaller than function keys on small domains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parties.packing import pack_elements, unpack_elements
from parties.wire import Spec
from protocols.fss.dealing import Dealing
from protocols.fss.material import Packed, Shape
from protocols.fss.party import Party
from protocols.tensors import to_tensor, to_words

MIN_DOMAIN_BITS = 3
"""So that a vector takes whole bytes."""


@dataclass(frozen=True, slots=True)
class OneHots:
    """Additive shares over Z_2^value_bits of a vector of 2^domain_bits entries for every element of a shape.

    The client draws its share; the server's, 2^domain_bits value_bits bits a vector, is sent.

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
        """Hands out shares of vectors that are 1 at these points, taken modulo 2^domain_bits."""
        places = to_words(points).reshape(-1) & np.uint64((1 << self.domain_bits) - 1)

        def complement(drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
            vectors = np.negative(self._entries(drawn))
            vectors[np.arange(len(places)), places] += 1
            return pack_elements(vectors, self.value_bits)

        dealing.packed(self.item, complement)

    def entries(self, party: Party) -> NDArray[np.unsignedinteger[Any]]:
        """This party's share of everything, uint8 or uint16 [elements, 2^domain_bits].

        Bits above `value_bits` mean nothing.
        """
        return self._entries(party.packed(self.item))

    def at(self, party: Party, points: torch.Tensor) -> torch.Tensor:
        """This party's share of the entries at public points, below 2^domain_bits, one a vector."""
        packed = np.append(party.packed(self.item), np.zeros(2, np.uint8))
        flat = to_words(points).reshape(-1)
        entry = np.arange(flat.size, dtype=np.uint64) * np.uint64(1 << self.domain_bits) + flat
        bit = entry * np.uint64(self.value_bits)
        byte = (bit >> np.uint64(3)).astype(np.int64)
        # An entry of up to 16 bits lies in three bytes.
        three = (packed[byte + i].astype(np.uint64) << np.uint64(8 * i) for i in range(3))
        word = sum(three, start=np.zeros(flat.size, np.uint64)) >> (bit & np.uint64(7))
        return to_tensor(word & np.uint64((1 << self.value_bits) - 1)).reshape(points.shape)

    def _entries(self, packed: NDArray[np.uint8]) -> NDArray[np.unsignedinteger[Any]]:
        kind = Spec(self.value_bits, self.shape).dtype
        count = math.prod(self.shape) << self.domain_bits
        if self.value_bits == 8:
            return packed.reshape(-1, 1 << self.domain_bits)
        return unpack_elements(packed.data, self.value_bits, count, kind).reshape(-1, 1 << self.domain_bits)
