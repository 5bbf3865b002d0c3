"""The correlations that a gate takes: both sides read the same list, so the bill follows from it.

Every correlation has a part that each party draws from its own stream (the dealer has both seeds), and a part
that is sent. Additive shares and truth tables are sent to the server alone; correction words of function keys
are the same for both parties and go to both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from protocols.fss.preprocessing.parts import parts
from protocols.kernels import truth_table
from protocols.kernels.dpf import DpfKeys

Shape = tuple[int, ...]
BLOCK_BYTES = 16
KEYS_TOGETHER = 1 << 14
"""Keys of point functions that lie together, level by level: some megabytes, which are read and used up."""


@dataclass(frozen=True, slots=True)
class Mask:
    """A fresh uniform mask of Z_2^bits: the sum of both parties' own draws. Nothing is sent."""

    shape: Shape
    bits: int

    @property
    def sent_bytes(self) -> tuple[int, int]:
        """To the server and to the client."""
        return 0, 0


@dataclass(frozen=True, slots=True)
class Shared:
    """Additive shares, over Z_2^bits, of something the dealer knows; the server's is sent.

    Attributes:
        zeros: as many low bits of it are zero, and are not shared; where there are no others, nothing is.
    """

    shape: Shape
    bits: int
    zeros: int = 0

    @property
    def shared_bits(self) -> int:
        """Bits of an element's share."""
        return max(0, self.bits - self.zeros)

    @property
    def sent_bytes(self) -> tuple[int, int]:
        """To the server and to the client."""
        return (math.prod(self.shape) * self.shared_bits + 7) // 8, 0


@dataclass(frozen=True, slots=True)
class Dpf:
    """Keys of point functions with one-bit outputs on a domain of 2^bits, one an element.

    To each party 16 (bits - 6) bytes. On domains of up to `truth_table.MAX_BITS` bits keys are truth tables:
    the client draws its own, and to the server 2^bits / 8 bytes are sent, at least one.
    """

    shape: Shape
    bits: int

    @property
    def is_table(self) -> bool:
        """Whether a key is a truth table, as for small domains."""
        return self.bits <= truth_table.MAX_BITS

    @property
    def parts(self) -> tuple[slice, ...]:
        """Elements whose keys lie together."""
        return parts(math.prod(self.shape), KEYS_TOGETHER)

    @property
    def sent_bytes(self) -> tuple[int, int]:
        """To the server and to the client."""
        count = math.prod(self.shape)
        if self.is_table:
            return count * truth_table.table_bytes(self.bits), 0
        sent = DpfKeys.key_bytes(self.bits, count)
        return sent, sent


@dataclass(frozen=True, slots=True)
class Idpf:
    """Keys of point functions on a domain of 2^bits whose prefixes, at some depths, have outputs in a ring.

    Attributes:
        depths: numbers of leading bits, increasing.
        value_bits: the outputs are summed modulo 2^value_bits.
        payload: there are second outputs, of the dealer's choice.
    """

    shape: Shape
    bits: int
    depths: tuple[int, ...]
    value_bits: int
    payload: bool = False

    @property
    def values_shape(self) -> Shape:
        """Shape of the correction values."""
        return (2 if self.payload else 1, len(self.depths), math.prod(self.shape))

    @property
    def sent_bytes(self) -> tuple[int, int]:
        """To the server and to the client."""
        keys = math.prod(self.shape)
        values = (math.prod(self.values_shape) * self.value_bits + 7) // 8
        sent = keys * BLOCK_BYTES * max(self.depths) + values
        return sent, sent


@dataclass(frozen=True, slots=True)
class Packed:
    """Shares of something the dealer knows, in a layout of the gate's own: bytes, of which the server's are
    sent."""

    size_bytes: int

    @property
    def sent_bytes(self) -> tuple[int, int]:
        """To the server and to the client."""
        return self.size_bytes, 0


Correlation = Mask | Shared | Packed | Dpf | Idpf
Correlations = dict[str, Correlation]


def sent_bytes(correlations: Correlations) -> tuple[int, int]:
    """Bytes of all correlations to the server and to the client."""
    pairs = [item.sent_bytes for item in correlations.values()]
    return sum(server for server, _ in pairs), sum(client for _, client in pairs)


@runtime_checkable
class Writer(Protocol):
    """Where correlations go: a connection, a file, a list."""

    def __call__(self, data: NDArray[np.uint8]) -> None:
        """Takes the next bytes."""
        ...
